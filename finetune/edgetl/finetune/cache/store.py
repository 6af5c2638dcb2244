"""Rows of numbers by content hash, on disk: features, activations and pixels are computed once and shared by runs."""

import contextlib
import fcntl
import math
import os
import shutil
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgetl.types import Array

RECORD = np.dtype([("digest", "u1", 32), ("crc", "<u4")])
"""One line of the index: SHA-256 of the image file, CRC-32 of the row computed from it."""

CHUNK_BYTES = 2**22
"""Rows are verified in pieces of this size, so that memory does not grow with the store."""

Digests = NDArray[np.uint8]


class RowStore:
    """An append-only table: SHA-256 of an image → one row of `shape` and `dtype`.

    Rows are read through a memory map, so they cost no anonymous memory. A process that is killed leaves whole rows
    only; a row that does not have its checksum counts as absent. While the object lives, `trim` leaves its folder.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder, self.shape, self.dtype = folder, shape, np.dtype(dtype)
        self._writing = False
        self.row_bytes = math.prod(shape) * self.dtype.itemsize
        used = os.open(folder / "in-use.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self.close = weakref.finalize(self, os.close, used)
        fcntl.flock(used, fcntl.LOCK_SH)
        os.utime(folder / "in-use.lock")  # for `trim`
        (folder / "index.bin").touch()
        (folder / "rows.bin").touch()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """One writer at a time; another process that wants the same rows waits, and then finds them."""
        with (self.folder / "writer.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._writing = True
            try:
                yield
            finally:
                self._writing = False

    def find(self, digests: Digests) -> NDArray[np.int64]:
        """The row number of each of `digests`, shape (n, 32); −1 where there is none. Damaged rows are dropped."""
        index = self._index()
        order = np.argsort(_prefixes(index["digest"]), kind="stable")
        found = _lookup(index["digest"], order, digests)
        damaged = self._damaged(index, np.unique(found[found >= 0]))
        found[np.isin(found, damaged)] = -1
        if damaged.size:
            self._forget(damaged)
        return found

    def append(self, digests: Digests, rows: Array) -> None:
        """Adds rows; to be called inside `writing`. The rows are on disk before the index names them."""
        count = len(self._index())
        records = np.zeros(len(rows), RECORD)
        records["digest"] = digests
        records["crc"] = [zlib.crc32(np.ascontiguousarray(row).data) for row in rows]
        _write_at(self.folder / "rows.bin", count * self.row_bytes, np.ascontiguousarray(rows, self.dtype).tobytes())
        _write_at(self.folder / "index.bin", count * RECORD.itemsize, records.tobytes())

    def rows(self) -> NDArray[Any]:
        """All rows, memory-mapped, read-only, of shape (count, *shape)."""
        count = len(self._index())
        if count == 0:
            return np.empty((0, *self.shape), self.dtype)
        return np.memmap(self.folder / "rows.bin", self.dtype, mode="r", shape=(count, *self.shape))

    def _index(self) -> NDArray[Any]:
        """Only records whose row is there in full: a torn write at the end counts as absent."""
        path = self.folder / "index.bin"
        whole = (self.folder / "rows.bin").stat().st_size // self.row_bytes
        count = min(path.stat().st_size // RECORD.itemsize, whole)
        return np.memmap(path, RECORD, mode="r", shape=(count,)) if count else np.empty(0, RECORD)

    def _damaged(self, index: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        rows, bad = self.rows(), []
        step = max(1, CHUNK_BYTES // self.row_bytes)
        for start in range(0, len(numbers), step):
            part = numbers[start : start + step]
            bad += [n for n, row in zip(part, rows[part], strict=True) if zlib.crc32(row.data) != index["crc"][n]]
        return np.array(bad, np.int64)

    def _forget(self, numbers: NDArray[np.int64]) -> None:
        with contextlib.nullcontext() if self._writing else self.writing():
            index = np.memmap(self.folder / "index.bin", RECORD, mode="r+")
            index["digest"][numbers] = 0


def _prefixes(digests: Digests) -> NDArray[np.uint64]:
    """The first eight bytes of each digest: what is sorted and searched; equality is checked on all 32."""
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64).reshape(-1)


def _lookup(known: Digests, order: NDArray[np.int64], wanted: Digests) -> NDArray[np.int64]:
    if len(known) == 0:
        return np.full(len(wanted), -1, np.int64)
    prefixes = _prefixes(known)[order]
    at = np.minimum(np.searchsorted(prefixes, _prefixes(wanted)), len(known) - 1)
    found = order[at]
    for start in range(0, len(wanted), 2**16):
        part = slice(start, start + 2**16)
        found[part][(known[found[part]] != wanted[part]).any(axis=1)] = -1
    return found


def _write_at(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b", buffering=0) as stream:
        stream.truncate(offset)
        stream.seek(offset)
        left = memoryview(content)
        while left:
            left = left[stream.write(left) :]


def trim(root: Path, limit_bytes: int) -> None:
    """Removes the stores below `root` that were not used for longest, until the rest fits; never one in use."""
    stores = sorted((path for path in root.iterdir() if path.is_dir()), key=_last_used)
    total = sum(_size(path) for path in stores)
    for path in stores:
        if total <= limit_bytes:
            return
        if _idle(path):
            total -= _size(path)
            shutil.rmtree(path, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _last_used(folder: Path) -> float:
    lock = folder / "in-use.lock"
    return lock.stat().st_mtime if lock.exists() else 0.0


def _idle(folder: Path) -> bool:
    with (folder / "in-use.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
