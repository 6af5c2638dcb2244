"""Noise is told from folders as the kernel lays them out: others' share, theft, heat, a falling clock, a governor."""

import os
from pathlib import Path

import pytest

from edgetl.runtime.bench.noise import NoiseWatch, Usage

HZ = os.sysconf("SC_CLK_TCK")


class Computer:
    """Two cores whose /proc and /sys lie in a folder; a fake clock, and fake use by this process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seconds, self.cpu_seconds, self.switches = 0.0, 0.0, 0
        self.stat(0, 0, 0)
        self.write("proc/loadavg", "0.50 0.30 0.20 1/234 5678")

    def write(self, path: str, text: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def stat(self, busy: float, idle: float, stolen: float) -> None:
        """Seconds of all cores so far."""
        ticks = [round(HZ * each) for each in (busy, 0, 0, idle, 0, 0, 0, stolen, 0, 0)]
        self.write("proc/stat", f"cpu  {' '.join(map(str, ticks))}\ncpu0 1 2 3")

    def cores(self, name: str, value: object) -> None:
        for core in range(2):
            self.write(f"sys/devices/system/cpu/cpu{core}/{name}", value)

    def usage(self) -> Usage:
        return Usage(cpu_seconds=self.cpu_seconds, involuntary_switches=self.switches)

    def watch(self) -> NoiseWatch:
        return NoiseWatch(self.root, lambda: self.seconds, self.usage)


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    return Computer(tmp_path)


def test_a_quiet_machine_has_nothing_to_say(computer: Computer) -> None:
    computer.cores("cpufreq/scaling_governor", "performance")
    computer.cores("cpufreq/scaling_cur_freq", 3_000_000)
    computer.cores("thermal_throttle/core_throttle_count", 5)
    watch = computer.watch()
    computer.seconds, computer.cpu_seconds, computer.switches = 10.0, 12.0, 4000
    computer.stat(busy=12.1, idle=7.9, stolen=0)
    noise = watch.stop()
    assert noise.seconds == 10 and noise.load_average == 0.5 and noise.governor == "performance"
    assert noise.others_cpu == pytest.approx(0.005) and noise.stolen_cpu == 0
    assert noise.throttled == 0 and noise.clock_drop == 0 and noise.involuntary_switches == 4000
    assert not noise.warnings, "an engine's own threads switch too"


def test_others_and_the_hypervisor_are_told_from_ourselves(computer: Computer) -> None:
    """20 s of two cores: 8 are ours, 4 are others', 2 were stolen."""
    watch = computer.watch()
    computer.seconds, computer.cpu_seconds, computer.switches = 10.0, 8.0, 1500
    computer.stat(busy=12, idle=6, stolen=2)
    noise = watch.stop()
    assert noise.others_cpu == pytest.approx(0.2) and noise.stolen_cpu == pytest.approx(0.1)
    assert noise.warnings == (
        "others used 20% of the processor",
        "the hypervisor took 10% of the processor",
        "150 involuntary context switches a second",
    )


def test_heat_and_a_falling_clock_are_told(computer: Computer) -> None:
    computer.cores("thermal_throttle/core_throttle_count", 5)
    computer.cores("cpufreq/scaling_cur_freq", 2_000_000)
    computer.cores("cpufreq/scaling_governor", "powersave")
    watch = computer.watch()
    computer.cores("thermal_throttle/core_throttle_count", 8)
    computer.cores("cpufreq/scaling_cur_freq", 1_500_000)
    noise = watch.stop()
    assert noise.throttled == 6 and noise.clock_drop == pytest.approx(0.25)
    assert noise.warnings == (
        "cores were slowed for heat 6 times",
        "the clock fell by 25%",
        "the governor is powersave, not performance",
    )


def test_what_a_machine_does_not_show_is_none(tmp_path: Path) -> None:
    noise = NoiseWatch(tmp_path).stop()
    assert noise.others_cpu is None and noise.load_average is None and noise.governor is None
    assert noise.throttled is None and noise.clock_drop is None and not noise.warnings


def test_this_machine_is_read() -> None:
    noise = NoiseWatch().stop()
    assert noise.load_average is not None and noise.involuntary_switches >= 0
