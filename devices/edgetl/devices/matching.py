"""Whether a machine is the device of a profile, how it differs in size, and which profile is closest to a machine."""

import re
from collections.abc import Callable, Iterable, Sequence

from edgetl.accelerators import IntelDevice
from edgetl.devices.catalogue import load_profile, names
from edgetl.devices.profile import Hardware, Profile
from edgetl.machine import Machine

ENOUGH_MEMORY = 7 / 8
"""Of the memory in a profile, so much must be there. Firmware, kernel and graphics keep some for themselves: of "8 GB"
(8.6·10⁹ bytes) a Jetson shows 8.0·10⁹, a Raspberry Pi 8.4·10⁹. The next smaller size that is sold, three quarters, is
at most 81 % (6 GiB for 8 GB)."""

ANOTHER_MODEL = {"ti", "super", "d", "laptop", "mobile", "max-q"}
"""Words with which a GPU's name goes on when it is another GPU."""

VIRTUAL = re.compile(r"-\d+[QCAB]$")
"""How the name of a virtual GPU ends: the memory it has of the whole one, and its series (NVIDIA vGPU User Guide)."""


def differences(profile: Profile, machine: Machine) -> list[str]:
    """Why `machine` is not the device of `profile`; empty when it is. Sizes are no difference: see `remarks`."""
    return [text for _, text in _requirements(profile.hardware, machine) if text]


def remarks(profile: Profile, machine: Machine) -> list[str]:
    """Where `machine` is the device of `profile`, but a smaller one, or may use only a part of itself."""
    wanted, found = profile.hardware, []
    where = f"in this {machine.container} container" if machine.container else "by this process"
    if wanted.cores and machine.cores < wanted.cores:
        cut = f"{machine.cores} of {machine.host_cores} cores may be used {where}"
        here = cut if machine.cores < machine.host_cores else f"{machine.cores} cores"
        found.append(f"{here}, the device has {wanted.cores}")
    if wanted.memory_gb and _too_small(machine.memory_bytes, wanted.memory_gb):
        usable, host = _gb(machine.memory_bytes), _gb(machine.host_memory_bytes)
        cut = f"{usable} of {host} GB of memory may be used {where}"
        here = cut if machine.memory_bytes < machine.host_memory_bytes else f"{usable} GB of memory"
        found.append(f"{here}, the device has {wanted.memory_gb:g}")
    gpus = [gpu for gpu in machine.nvidia if not wanted.gpu or _is_gpu(wanted.gpu, gpu.name)]
    sizes = [gpu.memory_bytes for gpu in gpus if gpu.memory_bytes]
    if wanted.gpu_memory_gb and sizes and _too_small(max(sizes), wanted.gpu_memory_gb):
        found.append(f"{_gb(max(sizes))} GB of GPU memory, the device has {wanted.gpu_memory_gb:g}")
    return found


def closest(machine: Machine, profiles: Iterable[Profile] | None = None) -> tuple[Profile, list[str]]:
    """The profile that fits `machine` best, and the differences that remain; of all that a name finds by default.

    Fewest differences first, an accelerator that is not here after others. Of several alike the one that asks for most
    that is here: a board before a GPU before an NPU before a processor, all by name, before an accelerator of any name
    before features. Then fewest remarks, then the name.
    """
    candidates = list(profiles) if profiles is not None else [load_profile(name) for name in names()]
    best = min(candidates, key=lambda profile: _rank(profile, machine))
    return best, differences(best, machine)


def fitting_gpu(wanted: str, here: Sequence[str]) -> str:
    """The first of the GPUs `here` whose name fits `wanted`, as a profile's `gpu` does; "" without one."""
    return next((name for name in here if not wanted or _is_gpu(wanted, name)), "")


def _rank(profile: Profile, machine: Machine) -> tuple[int, bool, list[int], int, str]:
    asked = _requirements(profile.hardware, machine)
    unmet = {what for what, text in asked if text}
    met = [what for what, text in asked if not text]
    order = ("board", "gpu", "npu", "cpu", "accelerator", "feature", "arch", "system")
    specific = [-met.count(what) for what in order]
    no_accelerator = not unmet.isdisjoint({"gpu", "npu", "accelerator"})
    return len(unmet), no_accelerator, specific, len(remarks(profile, machine)), profile.name


def _requirements(wanted: Hardware, machine: Machine) -> list[tuple[str, str]]:
    """What the profile asks for and, where the machine does not have it, the difference in words."""
    gpus = [*machine.gpus, *(device.name for device in machine.intel_gpus)]
    npus = [device.name for device in machine.intel_npus]
    asked = [
        ("system", wanted.system, _unlike("system", wanted.system, machine.system, wanted.system == machine.system)),
        ("arch", wanted.arch, _unlike("architecture", wanted.arch, machine.arch, wanted.arch == machine.arch)),
        ("board", wanted.board, _unlike("board", wanted.board, machine.board, _is_part(wanted.board, machine.board))),
        ("cpu", wanted.cpu, _unlike("processor", wanted.cpu, machine.cpu, _is_part(wanted.cpu, machine.cpu))),
        ("gpu", wanted.gpu, _none_like("GPU", wanted.gpu, gpus, _is_gpu)),
        ("npu", wanted.npu, _none_like("NPU", wanted.npu, npus, _is_part)),
    ]
    found = [(what, text) for what, value, text in asked if value]
    if wanted.accelerator != "cpu" and not any(text for what, text in found if what in ("gpu", "npu")):
        found.append(("accelerator", lacking_accelerator(wanted, machine)))
    lacking = [name for name in wanted.features if name not in machine.features]
    found += [("feature", "") for name in wanted.features if name not in lacking]
    return [*found, ("features", f"processor lacks `{'`, `'.join(lacking)}`")] if lacking else found


def _unlike(what: str, wanted: str, here: str, fits: bool) -> str:
    return "" if fits else f"{what} is `{here or 'unknown'}`, the device has `{wanted}`"


def _none_like(what: str, wanted: str, here: Sequence[str], fits: Callable[[str, str], bool]) -> str:
    if any(fits(wanted, name) for name in here):
        return ""
    return f"{what} is `{'`, `'.join(here)}`, the device has `{wanted}`" if here else f"no {what} `{wanted}` is here"


def lacking_accelerator(wanted: Hardware, machine: Machine) -> str:
    """Why what the profile computes on cannot be used here, whatever its name; "" when it can."""
    if wanted.accelerator == "cuda":
        jetson = machine.l4t or re.search(r"\b(NVIDIA|Jetson)\b", machine.board)
        return "" if machine.gpus or jetson else "no NVIDIA GPU is here"
    if wanted.accelerator == "intel-gpu":
        return _unusable("Intel GPU", machine.intel_gpus, "/dev/dri")
    if wanted.accelerator == "intel-npu":
        return _unusable("Intel NPU", machine.intel_npus, "/dev/accel")
    return ""


def _unusable(what: str, devices: Sequence[IntelDevice], node: str) -> str:
    if any(device.usable for device in devices):
        return ""
    return (
        f"an {what} is here but not its `{node}`, which a container must be given" if devices else f"no {what} is here"
    )


def _is_part(wanted: str, name: str) -> bool:
    """Whether `wanted` stands in `name` in whole words: `L4` does in `NVIDIA L4`, not in `NVIDIA L40S`."""
    return re.search(rf"(?<![\w.]){re.escape(_plain(wanted))}(?![\w.])", _plain(name)) is not None


def _is_gpu(wanted: str, name: str) -> bool:
    """The same, unless `name` goes on to be another model (`… Ti`) or is a share of one (`NVIDIA L4-24Q`)."""
    further = set(_plain(name).split()) - set(_plain(wanted).split())
    another = ANOTHER_MODEL & further or VIRTUAL.search(name)
    return _plain(wanted) == _plain(name) or (_is_part(wanted, name) and not another)


def _plain(name: str) -> str:
    """In small letters, without trademark signs and double spaces."""
    return " ".join(re.sub(r"\((?:r|tm|c)\)|[®™]", " ", name.lower()).split())


def _too_small(here: int, wanted_gb: float) -> bool:
    return 0 < here < ENOUGH_MEMORY * wanted_gb * 1e9


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f}"
