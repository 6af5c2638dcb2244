"""What this computer is: architecture, processor features, memory, board, accelerators, and what of it may be used."""

import functools
import os
import platform
from pathlib import Path

import msgspec

from edgetl import accelerators, containers
from edgetl.accelerators import IntelDevice, NvidiaGpu
from edgetl.processors import processor_features, processor_name
from edgetl.procfs import cpu_list, field, text

ROOT = Path("/")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A computer as far as inference cares. Memory is in bytes; what cannot be known is empty, 0 or None.

    `cores` and `memory_bytes` are what this process may use, `host_cores` and `host_memory_bytes` what the computer
    has; `container` names what stands between them, if one does. `gpus` are NVIDIA's by name, `nvidia` the same with
    what the driver says of them. `l4t` is the release of a Jetson's Linux.

    Later fields have defaults, for manifests, plans and measurements keep machines that knew fewer.
    """

    system: str
    arch: str
    cpu: str
    features: tuple[str, ...]
    cores: int
    memory_bytes: int
    board: str
    gpus: tuple[str, ...]
    nvidia: tuple[NvidiaGpu, ...] = ()
    l4t: str = ""
    intel_gpus: tuple[IntelDevice, ...] = ()
    intel_npus: tuple[IntelDevice, ...] = ()
    container: str = ""
    host_cores: int = 0
    host_memory_bytes: int = 0


def detect(root: Path = ROOT, *, arch: str | None = None, details: bool = False) -> Machine:
    """Reads /proc and /sys below `root`; on another system than Linux most of it stays empty.

    The hardware is read once a process and remembered, the limits on cores and memory every time. With `details`
    NVIDIA's driver is asked for the GPUs' memory and compute capability, which takes up to seconds the first time.
    """
    machine = _hardware(root, arch or platform.machine(), details)
    limits = containers.limits(root)
    cores, memory = len(_allowed(root)) or machine.cores, machine.memory_bytes
    return msgspec.structs.replace(
        machine,
        cores=cores if limits.cores is None else min(cores, max(1, int(limits.cores))),
        memory_bytes=memory if limits.memory_bytes is None or not memory else min(memory, limits.memory_bytes),
    )


def saturates_int8(machine: Machine) -> bool:
    """Whether products of unsigned and signed bytes are summed in 16 bits, which clips large ones.

    So do x86 processors with AVX2 but without VNNI (`vpmaddubsw`); docs/numerics.md has what it does to answers.
    """
    return "avx2" in machine.features and not {"avx512-vnni", "avx-vnni"} & set(machine.features)


@functools.lru_cache(maxsize=4)
def _hardware(root: Path, arch: str, details: bool) -> Machine:
    """The whole computer, whatever this process may use of it."""
    cpuinfo = text(root / "proc/cpuinfo")
    container = containers.container(root)
    gpus = accelerators.nvidia_gpus(root, details=details, contained=bool(container))
    cores, memory = len(_online(root)) or os.cpu_count() or 1, containers.total_memory_bytes(root)
    return Machine(
        system=platform.system(),
        arch=arch,
        cpu=processor_name(cpuinfo),
        features=processor_features(cpuinfo),
        cores=cores,
        memory_bytes=memory,
        board=_board(root, cpuinfo),
        gpus=tuple(gpu.name for gpu in gpus),
        nvidia=gpus,
        l4t=accelerators.l4t_release(root),
        intel_gpus=accelerators.intel_gpus(root),
        intel_npus=accelerators.intel_npus(root),
        container=container,
        host_cores=cores,
        host_memory_bytes=memory,
    )


def _board(root: Path, cpuinfo: str) -> str:
    """The device tree's model. A container does not show it, but the SoC's driver or /proc/cpuinfo may repeat it."""
    places = ("proc/device-tree/model", "sys/devices/soc0/machine")
    told = [text(root / place).strip("\0\n ") for place in places]
    return next((name for name in told if name), field(cpuinfo, "Model"))


def _online(root: Path) -> set[int]:
    return cpu_list(text(root / "sys/devices/system/cpu/online"))


def _allowed(root: Path) -> set[int]:
    """The processors this thread may run on (sched_setaffinity(2), cpusets), of those that are there."""
    allowed = cpu_list(field(text(root / "proc/thread-self/status"), "Cpus_allowed_list"))
    return allowed & (_online(root) or allowed)
