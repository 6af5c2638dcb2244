"""Which NVIDIA and Intel accelerators are here, from /proc, /sys and, when asked for, NVIDIA's own `nvidia-smi`."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec

from edgetl.procfs import field, text

SMI_SECONDS = 20
"""`nvidia-smi` wakes every sleeping GPU first, about a second each."""

SMI_FOLDERS = ("/usr/bin", "/usr/sbin", "/usr/local/nvidia/bin", "/usr/lib/wsl/lib")
"""Where drivers, Jetson, Kubernetes' device plugin and WSL put it, after PATH."""

INTEL_GPUS = {
    "3e92": "UHD Graphics 630",
    "4680": "UHD Graphics 770",
    "46a6": "Iris Xe Graphics",
    "46a8": "Iris Xe Graphics",
    "46d0": "UHD Graphics (Alder Lake-N)",
    "46d1": "UHD Graphics (Alder Lake-N)",
    "46d2": "UHD Graphics (Alder Lake-N)",
    "4e55": "UHD Graphics (Jasper Lake)",
    "56a0": "Arc A770 Graphics",
    "56a1": "Arc A750 Graphics",
    "56a2": "Arc A580 Graphics",
    "56a5": "Arc A380 Graphics",
    "56a6": "Arc A310 Graphics",
    "56c0": "Data Center GPU Flex 170",
    "56c1": "Data Center GPU Flex 140",
    "7d40": "Graphics (Meteor Lake)",
    "7d41": "Graphics (Arrow Lake)",
    "7d45": "Graphics (Meteor Lake)",
    "7d51": "Arc Graphics (Arrow Lake)",
    "7d55": "Arc Graphics (Meteor Lake)",
    "7d67": "Graphics (Arrow Lake)",
    "7dd1": "Graphics (Arrow Lake)",
    "7dd5": "Graphics (Meteor Lake)",
    "9a40": "Iris Xe Graphics",
    "9a49": "Iris Xe Graphics",
    "a780": "UHD Graphics 770",
    "a7a0": "Iris Xe Graphics",
    "a7a1": "Iris Xe Graphics",
}
"""PCI device → name. Sources: the PCI ID Repository (pci-ids.ucw.cz), vendor 8086; Intel compute-runtime's devices."""

INTEL_NPUS = {
    "7d1d": "NPU (Meteor Lake)",
    "ad1d": "NPU (Arrow Lake)",
    "643e": "NPU (Lunar Lake)",
    "b03e": "NPU (Panther Lake)",
}
"""PCI device → name. Source: Linux, drivers/accel/ivpu/ivpu_drv.h."""


class NvidiaGpu(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU by its driver's name; memory in bytes and compute capability (`8.9`) are None where nobody was asked."""

    name: str
    memory_bytes: int | None = None
    compute_capability: str | None = None


class IntelDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU or NPU. `pci_id` is `8086:7d55`. `usable`: its device node is here too; a container may lack it."""

    name: str
    pci_id: str
    driver: str
    usable: bool


def nvidia_gpus(root: Path, *, details: bool, contained: bool = False) -> tuple[NvidiaGpu, ...]:
    """The GPUs that NVIDIA's driver lists in /proc, in the order of their bus; `contained`: in a container.

    `nvidia-smi` is asked for `details`, and for the names where a driver without such a list is here (WSL, gVisor).
    """
    listed = tuple(NvidiaGpu(name=name) for name in _listed(root, contained=contained))
    nameless = not (root / "proc/driver/nvidia/gpus").is_dir() and _has_node(root, "nvidiactl", "dxg")
    if not (nameless or (listed and details)):
        return listed
    asked = _ask_smi(root)
    told = {gpu.name: gpu for gpu in asked}
    return tuple(told.get(gpu.name, gpu) for gpu in listed) or asked


def _listed(root: Path, *, contained: bool) -> list[str]:
    """The names. A container sees the host's list, but can use only a GPU whose device node it was given.

    Outside of one the nodes prove nothing: they may be made when the first program needs them.
    """
    folders = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    told = [text(folder) for folder in folders]
    return [
        field(each, "Model")
        for each in told
        if not contained or _has_node(root, f"nvidia{field(each, 'Device Minor') or 'ctl'}")
    ]


def _has_node(root: Path, *names: str) -> bool:
    return any((root / "dev" / name).exists() for name in names)


def _ask_smi(root: Path) -> tuple[NvidiaGpu, ...]:
    places = [*os.environ.get("PATH", "").split(os.pathsep), *SMI_FOLDERS]
    program = shutil.which("nvidia-smi", path=os.pathsep.join(str(root / place.lstrip("/")) for place in places))
    if program is None:
        return ()
    # drivers before 470 do not know `compute_cap` and refuse the whole question
    rows = _smi_rows(program, "name,memory.total,compute_cap") or _smi_rows(program, "name,memory.total")
    return tuple(_gpu(*row) for row in rows)


def _smi_rows(program: str, query: str) -> list[list[str]]:
    """Empty when the program fails or hangs, as it does beside a driver of another version."""
    command = [program, f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SMI_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [[cell.strip() for cell in line.split(",")] for line in result.stdout.splitlines() if line.strip()]


def _gpu(name: str, mebibytes: str = "", capability: str = "", *_: str) -> NvidiaGpu:
    """A cell that the driver has no value for says `[N/A]` or `[Not Supported]`."""
    return NvidiaGpu(
        name=name,
        memory_bytes=int(mebibytes) * 2**20 if mebibytes.isdigit() else None,
        compute_capability=capability if re.fullmatch(r"\d+\.\d+", capability) else None,
    )


def l4t_release(root: Path) -> str:
    """NVIDIA's Linux for Jetson: `36.4.3` for `# R36 (release), REVISION: 4.3, …`; "" elsewhere."""
    found = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", text(root / "etc/nv_tegra_release"))
    return f"{found.group(1)}.{found.group(2)}" if found else ""


def intel_gpus(root: Path) -> tuple[IntelDevice, ...]:
    """What the drivers i915 and xe run, in the order of /sys/class/drm."""
    found = []
    for card in _numbered(root / "sys/class/drm", "card"):
        nodes = [node.name for node in (card / "device/drm").glob("renderD*")]
        usable = any((root / "dev/dri" / node).exists() for node in nodes)
        found.append(_intel_device(card / "device", INTEL_GPUS, ("i915", "xe"), "graphics", usable=usable))
    return tuple(device for device in found if device)


def intel_npus(root: Path) -> tuple[IntelDevice, ...]:
    """What the driver intel_vpu runs, in the order of /sys/class/accel."""
    found = [
        _intel_device(
            each / "device", INTEL_NPUS, ("intel_vpu",), "NPU", usable=(root / "dev/accel" / each.name).exists()
        )
        for each in _numbered(root / "sys/class/accel", "accel")
    ]
    return tuple(device for device in found if device)


def _numbered(folder: Path, prefix: str) -> list[Path]:
    """`card0`, `card1`, … and not their connectors `card0-HDMI-A-1`."""
    found = [path for path in folder.glob(f"{prefix}*") if path.name.removeprefix(prefix).isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(prefix)))


def _intel_device(
    device: Path, names: dict[str, str], drivers: tuple[str, ...], what: str, *, usable: bool
) -> IntelDevice | None:
    driver = re.search(r"^DRIVER=(.+)$", text(device / "uevent"), re.MULTILINE)
    if text(device / "vendor").strip() != "0x8086" or driver is None or driver.group(1) not in drivers:
        return None
    number = text(device / "device").strip().removeprefix("0x").lower()
    name = f"Intel {names.get(number, f'{what} 8086:{number}')}"
    return IntelDevice(name=name, pci_id=f"8086:{number}", driver=driver.group(1), usable=usable)
