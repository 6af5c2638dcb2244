"""The files another machine sent, by their SHA-256: whole or partial, checked each time they are used, limited."""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from edgetl.devices.remote.protocol import Entry, Have, Kept, Object
from edgetl.errors import ArtefactError, ConfigError, EdgetlError
from edgetl.files import sha256_of

LIMIT = "EDGETL_REMOTE_CACHE_MB"
"""The environment variable with the MiB that files sent by others may take on this machine."""

DEFAULT_MB = 2048
RESERVE_BYTES = 64 * 2**20
"""So much of the disk is left free."""

MAX_PATH = 1000
_PARTIAL = ".partial"


def limit_bytes() -> int:
    """What the files may take together. Raises ConfigError for a value that is no whole number."""
    value = os.environ.get(LIMIT, "")
    if value and not value.isdecimal():
        raise ConfigError(f"`{LIMIT}` cannot be `{value}`", hint="a whole number of MiB")
    return int(value or DEFAULT_MB) * 2**20


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """One process at a time changes what lies in `root`; the lock ends with the process."""
    with (root / "store.lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


class Store:
    """The objects in `root`. Its methods are called with the lock of `root` held."""

    def __init__(self, root: Path) -> None:
        self._objects = root / "objects"
        self._objects.mkdir(mode=0o700, exist_ok=True)

    def want(self, objects: Sequence[Object]) -> tuple[Have, ...]:
        """Which of `objects` are not here whole, after older ones made room. Raises EdgetlError: no room."""
        wanted = {each.sha256: each.size for each in objects}
        missing = []
        for sha256, size in wanted.items():
            if _size(self._object(sha256)) == size:
                os.utime(self._object(sha256))
            else:
                missing.append(Have(sha256=sha256, have=_size(self._partial(sha256)) or 0))
        coming = sum(wanted[each.sha256] - min(each.have, wanted[each.sha256]) for each in missing)
        _refuse_above_limit(sum(wanted.values()))  # before anything makes room for it
        self._make_room(wanted, coming)
        return tuple(missing)

    def put(self, sha256: str, size: int, offset: int, content: bytes) -> Kept:
        """Appends to the partial object if that is where it ends; the whole one is hashed before it counts.

        Not synced: after a power cut the next hash tells, and waiting for an SD card would cost more.
        """
        path, partial = self._object(sha256), self._partial(sha256)
        if _size(path) == size:
            return Kept(have=size)
        have = _size(partial) or 0
        if offset != have or have + len(content) > size:
            if have > size:
                partial.unlink()
            return Kept(have=have if have <= size else 0)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with partial.open("ab") as stream:
            stream.write(content)
        if have + len(content) < size:
            return Kept(have=have + len(content))
        if sha256_of(partial) != sha256:
            partial.unlink()
            return Kept(have=0, damaged=True)
        partial.chmod(0o400)
        partial.replace(path)
        return Kept(have=size)

    def lay_out(self, entries: Sequence[Entry], folder: Path) -> tuple[str, ...]:
        """Makes `folder` of the objects, as links or copies that cannot be written.

        Every object is hashed; those that are missing or not what they are called are removed and returned, and then
        the folder is of no use. Raises ArtefactError for a path that leaves it.
        """
        folder.mkdir(mode=0o700)
        broken = {each.sha256 for each in entries if not self._sound(each)}
        for entry in entries:
            path = folder / safe(entry.path)
            if entry.sha256 not in broken:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _link(self._object(entry.sha256), path)
        return tuple(sorted(broken))

    def _sound(self, entry: Entry) -> bool:
        path = self._object(entry.sha256)
        if _size(path) == entry.size and sha256_of(path) == entry.sha256:
            return True
        path.unlink(missing_ok=True)
        return False

    def _make_room(self, wanted: Iterable[str], coming: int) -> None:
        """Removes what was not used for longest, except `wanted`, until `coming` bytes fit the limit and the disk."""
        keep, limit = set(wanted), limit_bytes()
        found = [(state.st_mtime, state.st_size, path) for path, state in self._all()]
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total + coming <= limit and self.free_bytes() >= coming:
                break
            if path.name.removesuffix(_PARTIAL) not in keep:
                path.unlink(missing_ok=True)
                total -= size
        _refuse_above_limit(total + coming)
        if self.free_bytes() < coming:
            raise EdgetlError(
                f"the device's disk has {self.free_bytes() / 1e6:.0f} MB left, {coming / 1e6:.0f} MB are to be sent",
                hint="free some space there, or set EDGETL_CACHE there to another disk",
            )

    def free_bytes(self) -> int:
        """What of the disk may be used."""
        return max(0, shutil.disk_usage(self._objects).free - RESERVE_BYTES)

    def _all(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._objects.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                yield path, path.stat()

    def _object(self, sha256: str) -> Path:
        return self._objects / sha256[:2] / sha256

    def _partial(self, sha256: str) -> Path:
        return self._objects / sha256[:2] / (sha256 + _PARTIAL)


def safe(relative: str) -> str:
    """`relative`, refused when it is no plain path below a folder. Raises ArtefactError."""
    path = PurePosixPath(relative)
    plain = "\0" not in relative and not path.is_absolute() and path.as_posix() == relative and relative != "."
    if not plain or ".." in path.parts or len(relative) > MAX_PATH:
        raise ArtefactError(f"the path `{relative[:MAX_PATH]}` leaves its folder", hint="rename the file")
    return relative


def _refuse_above_limit(size: int) -> None:
    if size > (limit := limit_bytes()):
        raise ConfigError(
            f"this run needs {size / 1e6:.0f} MB on the device, files sent to it may take {limit / 1e6:.0f} MB",
            hint=f"send fewer images, or set {LIMIT} there",
        )


def older_than(path: Path, seconds: float) -> bool:
    """Whether `path` was last changed so long ago; a file that is gone is not."""
    try:
        return time.time() - path.stat().st_mtime > seconds
    except FileNotFoundError:
        return False


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _link(source: Path, target: Path) -> None:
    """A hard link; a copy where the file system has none, or no more of them."""
    try:
        os.link(source, target)
    except FileExistsError as error:
        raise ArtefactError(f"two files are called `{target.name}`", hint="rename one") from error
    except OSError:
        shutil.copyfile(source, target)
        target.chmod(0o400)
