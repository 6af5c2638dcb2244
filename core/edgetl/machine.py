"""What this computer is: architecture, processor features, memory, board and GPU, read from the kernel."""

import os
import platform
import re
from pathlib import Path

import msgspec

FEATURES = {
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512-vnni",
    "avx_vnni": "avx-vnni",
    "avx512_bf16": "avx512-bf16",
    "avx512_fp16": "avx512-fp16",
    "amx_int8": "amx-int8",
    "amx_bf16": "amx-bf16",
    "asimd": "neon",
    "asimddp": "dotprod",
    "asimdhp": "fp16",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
}
"""Kernel flag → the name used here, for the features that decide which kernels an engine picks."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A computer as far as inference cares. Memory is in bytes; `board` and `gpus` may be empty."""

    system: str
    arch: str
    cpu: str
    features: tuple[str, ...]
    cores: int
    memory_bytes: int
    board: str
    gpus: tuple[str, ...]


def detect() -> Machine:
    """Reads /proc and /sys; on another system the parts that cannot be known stay empty."""
    cpuinfo = _text("/proc/cpuinfo")
    flags = set(_field(cpuinfo, "flags", "Features").split())
    return Machine(
        system=platform.system(),
        arch=platform.machine(),
        cpu=_field(cpuinfo, "model name", "Model"),
        features=tuple(name for flag, name in FEATURES.items() if flag in flags),
        cores=_usable_cores(),
        memory_bytes=_memory_bytes(),
        board=_text("/proc/device-tree/model").strip("\0\n "),
        gpus=_nvidia_gpus(),
    )


def saturates_int8(machine: Machine) -> bool:
    """Whether products of unsigned and signed bytes are summed in 16 bits, which clips large ones.

    So do x86 processors with AVX2 but without VNNI (`vpmaddubsw`); docs/numerics.md has what it does to answers.
    """
    return "avx2" in machine.features and not {"avx512-vnni", "avx-vnni"} & set(machine.features)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _field(text: str, *keys: str) -> str:
    for key in keys:
        if found := re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE):
            return found.group(1).strip()
    return ""


def _usable_cores() -> int:
    """Cores this process may run on, cut by a container's CPU quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _text("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        allowed = min(allowed, max(1, int(quota[0]) // int(quota[1])))
    return allowed


def _memory_bytes() -> int:
    total = re.search(r"^MemTotal:\s*(\d+) kB", _text("/proc/meminfo"), re.MULTILINE)
    memory = int(total.group(1)) * 1024 if total else 0
    limit = _text("/sys/fs/cgroup/memory.max").strip()
    return min(memory, int(limit)) if limit.isdigit() else memory


def _nvidia_gpus() -> tuple[str, ...]:
    folders = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return tuple(_field(_text(str(folder)), "Model") for folder in folders)
