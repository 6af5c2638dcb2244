"""What a container or a control group leaves a process of its computer: processor time, memory.

A limit holds for everything below it, so the tightest on the way from the process's own control group up counts.
Sources: Linux, admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst, scheduler/sched-bwc.rst, filesystems/proc.rst
(mountinfo); man page cgroup_namespaces(7).
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import msgspec

from edgetl.procfs import memory_bytes, text

MARKERS = {".dockerenv": "docker", "run/.containerenv": "podman"}
"""Files that the engines lay into a container."""

IN_PATH = {
    r"\bkubepods\b": "kubernetes",
    r"\blibpod-[0-9a-f]{12}": "podman",
    r"\bdocker[-/][0-9a-f]{12}": "docker",
    r"\bcontainerd[-/][0-9a-f]{12}": "containerd",
    r"/lxc(\.payload\.|/)\w": "lxc",
}
"""How the path of a container's control group looks, where the container shows it."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Processors' worth of time, and bytes; None is unlimited."""

    cores: float | None = None
    memory_bytes: int | None = None


class _Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A mounted hierarchy: the control group shown at `point` is `top`; `controllers` is empty for version 2."""

    point: str
    top: str
    controllers: tuple[str, ...] = ()


def container(root: Path) -> str:
    """Which container this process runs in (`docker`, `podman`, `kubernetes`, `lxc`, …), as far as it shows; or ""."""
    paths = text(root / "proc/self/cgroup")
    by_path = next((name for look, name in IN_PATH.items() if re.search(look, paths)), "")
    by_file = next((name for file, name in MARKERS.items() if (root / file).exists()), "")
    by_init = text(root / "run/systemd/container").strip()
    pod = "kubernetes" if (root / "var/run/secrets/kubernetes.io").exists() else ""
    return pod or by_init or by_path or by_file


def limits(root: Path) -> Limits:
    """The tightest limits that hold for this process. They can change while it runs, so they are read every time."""
    mounts = list(_mounts(text(root / "proc/self/mountinfo")))
    groups = text(root / "proc/self/cgroup")
    times = _values(root, mounts, groups, "cpu", _cores_v2, _cores_v1)
    sizes = _values(root, mounts, groups, "memory", _memory_v2, _memory_v1)
    return Limits(cores=min(times, default=None), memory_bytes=int(min(sizes)) if sizes else None)


def _values(
    root: Path,
    mounts: list[_Mount],
    groups: str,
    controller: str,
    version_2: Callable[[Path], float | None],
    version_1: Callable[[Path], float | None],
) -> list[float]:
    found = []
    for mount in mounts:
        if mount.controllers and controller not in mount.controllers:
            continue
        read = version_1 if mount.controllers else version_2
        own = _own_path(groups, controller if mount.controllers else "")
        found += [read(folder) for folder in _upwards(root, mount, own)]
    return [value for value in found if value is not None]


def _mounts(mountinfo: str) -> Iterator[_Mount]:
    for line in mountinfo.splitlines():
        place, _, kind = line.partition(" - ")
        before, after = place.split(), kind.split()
        # a hierarchy that starts above this process's namespace (`/..`) is somebody else's
        if len(before) < 5 or len(after) < 3 or before[3].startswith("/.."):
            continue
        if after[0] == "cgroup2":
            yield _Mount(point=before[4], top=before[3])
        elif after[0] == "cgroup":
            yield _Mount(point=before[4], top=before[3], controllers=tuple(after[2].split(",")))


def _own_path(groups: str, controller: str) -> str:
    """The path in /proc/self/cgroup, of lines `ID:CONTROLLERS:PATH`; version 2 has no controllers there."""
    for line in groups.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if controller in names.split(",") and (controller or number == "0"):
            return path
    return "/"


def _upwards(root: Path, mount: _Mount, own: str) -> list[Path]:
    """The folders of the process's control group and of those above it, as far as they are shown."""
    shown = PurePosixPath(own)
    below = shown.relative_to(mount.top) if shown.is_relative_to(mount.top) else PurePosixPath()
    if ".." in below.parts:
        below = PurePosixPath()
    top = root / mount.point.lstrip("/")
    return [top.joinpath(*below.parts[:depth]) for depth in range(len(below.parts), -1, -1)]


def _cores_v2(folder: Path) -> float | None:
    return _share(*text(folder / "cpu.max").split())


def _cores_v1(folder: Path) -> float | None:
    return _share(text(folder / "cpu.cfs_quota_us").strip(), text(folder / "cpu.cfs_period_us").strip())


def _share(quota: str = "", period: str = "") -> float | None:
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _memory_v2(folder: Path) -> float | None:
    return _bytes(text(folder / "memory.max"))


def _memory_v1(folder: Path) -> float | None:
    return _bytes(text(folder / "memory.limit_in_bytes"))


def _bytes(content: str) -> float | None:
    """Version 1 says "unlimited" with a number near 2⁶³, which no memory reaches."""
    return int(content) if content.strip().isdigit() and int(content) < 2**60 else None


def total_memory_bytes(root: Path) -> int:
    """Memory of the computer as the kernel counts it, without what firmware and kernel keep; 0 when unknown."""
    return memory_bytes(root / "proc/meminfo", "MemTotal") or 0
