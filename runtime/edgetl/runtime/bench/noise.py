"""What else the machine did while something was timed: other processes, its clock, its heat.

Read from /proc/stat, /proc/loadavg and /sys/devices/system/cpu (Linux, Documentation/filesystems/proc.rst and
admin-guide/pm/cpufreq.rst); parts that a machine does not show are None.
"""

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgetl.procfs import text

BUSY = 0.05
"""So much of all processor time for others, or taken by the hypervisor, and more, is worth a warning."""

SLOWER = 0.05
"""A clock that falls by more than this share while measuring is worth one."""

SWITCHES = 100
"""So many involuntary context switches a second, and more, are worth saying when others were busy."""

STEADY = "performance"


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """Shares are of all processor time of the machine, 0–1. `others_cpu`: what was neither idle nor ours.

    `stolen_cpu`: what a hypervisor took. `throttled`: how often a core was slowed for heat. `clock_drop`: by which
    share the cores' mean frequency fell. `involuntary_switches`: of this process and its threads.
    """

    seconds: float
    load_average: float | None
    others_cpu: float | None
    stolen_cpu: float | None
    involuntary_switches: int
    governor: str | None
    throttled: int | None
    clock_drop: float | None
    warnings: tuple[str, ...] = ()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What this process and its finished children used so far."""

    cpu_seconds: float
    involuntary_switches: int


class _State(msgspec.Struct, frozen=True, kw_only=True):
    when: float
    usage: Usage
    ticks: tuple[int, int, int] | None
    throttled: int | None
    clock: float | None


class NoiseWatch:
    """Watches from its making until `stop`. `root` is where /proc and /sys lie; `clock` counts seconds."""

    def __init__(
        self,
        root: Path = Path("/"),
        clock: Callable[[], float] = time.perf_counter,
        usage: "Callable[[], Usage] | None" = None,
    ) -> None:
        self._root, self._clock, self._usage = root, clock, usage or own_usage
        self._before = self._state()

    def stop(self) -> Noise:
        """What happened since."""
        before, after = self._before, self._state()
        others, stolen = _shares(before, after)
        slowed = before.throttled is not None and after.throttled is not None
        load = text(self._root / "proc/loadavg").split()
        noise = Noise(
            seconds=after.when - before.when,
            load_average=float(load[0]) if load else None,
            others_cpu=others,
            stolen_cpu=stolen,
            involuntary_switches=after.usage.involuntary_switches - before.usage.involuntary_switches,
            governor=self._governor(),
            throttled=(after.throttled or 0) - (before.throttled or 0) if slowed else None,
            clock_drop=1 - after.clock / before.clock if before.clock and after.clock else None,
        )
        return msgspec.structs.replace(noise, warnings=tuple(_warnings(noise)))

    def _state(self) -> _State:
        cpus = self._root / "sys/devices/system/cpu"
        clocks = _numbers(cpus, "cpu[0-9]*/cpufreq/scaling_cur_freq")
        throttled = _numbers(cpus, "cpu[0-9]*/thermal_throttle/core_throttle_count")
        return _State(
            when=self._clock(),
            usage=self._usage(),
            ticks=_ticks(text(self._root / "proc/stat")),
            throttled=sum(throttled) if throttled else None,
            clock=sum(clocks) / len(clocks) if clocks else None,
        )

    def _governor(self) -> str | None:
        files = sorted((self._root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor"))
        return ", ".join(sorted({found for file in files if (found := text(file).strip())})) or None


def own_usage() -> Usage:
    """Of this process and of the children it has waited for."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Usage(
        cpu_seconds=sum(part.ru_utime + part.ru_stime for part in parts),
        involuntary_switches=sum(part.ru_nivcsw for part in parts),
    )


def _shares(before: _State, after: _State) -> tuple[float | None, float | None]:
    """Of others, and stolen."""
    if before.ticks is None or after.ticks is None:
        return None, None
    total, busy, stolen = (now - then for now, then in zip(after.ticks, before.ticks, strict=True))
    if total <= 0:
        return None, None
    own = (after.usage.cpu_seconds - before.usage.cpu_seconds) * os.sysconf("SC_CLK_TCK")
    # the kernel counts ticks, our own use is exact: the difference may be a little below zero
    return min(1.0, max(0.0, (busy - own) / total)), stolen / total


def _ticks(stat: str) -> tuple[int, int, int] | None:
    """All, busy and stolen ticks since the start, of all cores. Guests' time is inside user and nice already."""
    fields = stat.partition("\n")[0].split()
    if len(fields) < 9 or fields[0] != "cpu":
        return None
    user, nice, system, idle, waiting, irq, softirq, stolen = (int(field) for field in fields[1:9])
    busy = user + nice + system + irq + softirq
    return busy + idle + waiting + stolen, busy, stolen


def _warnings(noise: Noise) -> list[str]:
    found = []
    if noise.others_cpu is not None and noise.others_cpu >= BUSY:
        found.append(f"others used {noise.others_cpu:.0%} of the processor")
    if noise.stolen_cpu is not None and noise.stolen_cpu >= BUSY:
        found.append(f"the hypervisor took {noise.stolen_cpu:.0%} of the processor")
    each = noise.involuntary_switches / max(noise.seconds, 0.01)
    # an engine's own threads take turns on few cores too, so switches alone mean nothing
    if found and each >= SWITCHES:
        found.append(f"{each:.0f} involuntary context switches a second")
    if noise.throttled:
        found.append(f"cores were slowed for heat {noise.throttled} times")
    if noise.clock_drop is not None and noise.clock_drop >= SLOWER:
        found.append(f"the clock fell by {noise.clock_drop:.0%}")
    if noise.governor is not None and noise.governor != STEADY:
        found.append(f"the governor is {noise.governor}, not {STEADY}")
    return found


def _numbers(folder: Path, pattern: str) -> list[int]:
    found = [text(file).strip() for file in sorted(folder.glob(pattern))]
    return [int(each) for each in found if each.isdigit()]
