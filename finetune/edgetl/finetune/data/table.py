"""The samples of a data set as rows of a mapped temporary file, so that memory does not grow with their number."""

import mmap
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from edgetl.cache import cache_directory
from edgetl.errors import DataError
from edgetl.run import SampleRecord, Split
from edgetl.types import Array

SPLIT_NAMES: tuple[Split, ...] = ("train", "val", "test")
"""A row's `split` is an index into this."""

ROW = np.dtype(
    [("start", "<i8"), ("sha256", "u1", (32,)), ("length", "<i4"), ("label", "<i4"), ("group", "<i4"), ("split", "u1")],
    align=True,
)
"""`start` and `length` are the place of the path in the path file, `group` is −1 for a sample without one."""

INDEX = np.dtype(np.int64)

BLOCK = 8192
"""So many rows are in memory at a time: half a megabyte."""


class Samples(Sequence[SampleRecord]):
    """Rows of a table, in order; a SampleRecord is made when one is looked at.

    `labels`, `groups`, `splits` (n,) and `digests` (n, 32) are views of the mapped rows. A slice shares them.
    """

    def __init__(self, rows: Array, paths: mmap.mmap | bytes, group_names: Sequence[str]) -> None:
        self.rows = rows
        self.group_names = group_names
        self._paths = paths

    @property
    def labels(self) -> NDArray[np.int32]:
        return self.rows["label"]

    @property
    def groups(self) -> NDArray[np.int32]:
        """Indices into `group_names`, −1 for none."""
        return self.rows["group"]

    @property
    def splits(self) -> NDArray[np.uint8]:
        """Indices into `SPLIT_NAMES`."""
        return self.rows["split"]

    @property
    def digests(self) -> NDArray[np.uint8]:
        """SHA-256 of each file, (n, 32)."""
        return self.rows["sha256"]

    def path(self, i: int) -> str:
        row = self.rows[i]
        return self._paths[int(row["start"]) : int(row["start"]) + int(row["length"])].decode()

    def take(self, rows: NDArray[np.int64]) -> "Samples":
        """The samples at these positions, in this order."""
        return self.over(self.rows[rows[at : at + BLOCK]] for at in range(0, len(rows), BLOCK))

    def over(self, blocks: Iterable[Array]) -> "Samples":
        """These rows, kept in a file of their own, over the same paths and groups."""
        return Samples(stored(blocks, ROW), self._paths, self.group_names)

    def blocks(self) -> Iterator["Samples"]:
        """The samples in pieces of at most `BLOCK` rows."""
        for start in range(0, len(self), BLOCK):
            yield self[start : start + BLOCK]

    def paths(self) -> Iterator[str]:
        for start in range(0, len(self), BLOCK):
            rows = self.rows[start : start + BLOCK]
            for at, length in zip(rows["start"].tolist(), rows["length"].tolist(), strict=True):
                yield self._paths[at : at + length].decode()

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, i: int) -> SampleRecord: ...
    @overload
    def __getitem__(self, i: slice) -> "Samples": ...
    def __getitem__(self, i: int | slice) -> "SampleRecord | Samples":
        if isinstance(i, slice):
            return Samples(self.rows[i], self._paths, self.group_names)
        row = self.rows[i]
        group = int(row["group"])
        return SampleRecord(
            path=self.path(i),
            label=int(row["label"]),
            split=SPLIT_NAMES[row["split"]],
            sha256=row["sha256"].tobytes().hex(),
            group=self.group_names[group] if group >= 0 else "",
        )

    def __iter__(self) -> Iterator[SampleRecord]:
        for block in self.blocks():
            rows = block.rows
            columns = (rows["label"].tolist(), rows["split"].tolist(), rows["group"].tolist())
            digests = rows["sha256"].tobytes()
            for i, (path, label, split, group) in enumerate(zip(block.paths(), *columns, strict=True)):
                yield SampleRecord(
                    path=path,
                    label=label,
                    split=SPLIT_NAMES[split],
                    sha256=digests[32 * i : 32 * i + 32].hex(),
                    group=self.group_names[group] if group >= 0 else "",
                )


class TableWriter:
    """Takes samples one by one; their SHA-256 stays zero until it is filled in."""

    def __init__(self) -> None:
        self._paths, self._rows = _temporary(), _temporary()
        self._waiting: list[tuple[int, int, int, int, int]] = []
        self._groups: dict[str, int] = {}
        self._start = 0

    def append(self, path: str, label: int, split: int, group: str = "") -> None:
        """Raises DataError for a file name that is not UTF-8, which no JSON could carry."""
        try:
            encoded = path.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"the file name `{path!a}` is not UTF-8", hint="rename the file") from error
        number = self._groups.setdefault(group, len(self._groups)) if group else -1
        self._waiting.append((self._start, len(encoded), label, number, split))
        self._paths.write(encoded)
        self._start += len(encoded)
        if len(self._waiting) == BLOCK:
            self._flush()

    def finish(self) -> Samples:
        """The samples so far, with rows that may be written to; the writer is used up."""
        self._flush()
        with self._paths, self._rows:
            return Samples(np.frombuffer(_mapped(self._rows), ROW), _mapped(self._paths), tuple(self._groups))

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._paths.close()
        self._rows.close()

    def _flush(self) -> None:
        rows = np.zeros(len(self._waiting), ROW)
        if self._waiting:
            starts, lengths, labels, groups, splits = zip(*self._waiting, strict=True)
            rows["start"], rows["length"], rows["label"] = starts, lengths, labels
            rows["group"], rows["split"] = groups, splits
        self._rows.write(rows.tobytes())
        self._waiting.clear()


def stored(blocks: Iterable[Array], dtype: np.dtype[Any]) -> Array:
    """The blocks one after another as one array in an unlinked file: its pages are the file's, not the process's."""
    with _temporary() as stream:
        for block in blocks:
            stream.write(np.ascontiguousarray(block, dtype).tobytes())
        return np.frombuffer(_mapped(stream), dtype)


def counted(column: Array, kinds: int) -> NDArray[np.int64]:
    """How often each number below `kinds` occurs; `np.bincount` alone would copy the column as 64-bit numbers."""
    counts = np.zeros(kinds, np.int64)
    for at in range(0, len(column), BLOCK):
        counts += np.bincount(column[at : at + BLOCK], minlength=kinds)
    return counts


def sorted_rows(column: Array, kinds: int) -> NDArray[np.int64]:
    """The positions of `column` (numbers below `kinds`) in stable order: a counting sort into a file."""
    free = np.cumsum(counted(column, kinds)) - counted(column, kinds)
    result = stored((np.zeros(len(column[at : at + BLOCK]), np.int64) for at in range(0, len(column), BLOCK)), INDEX)
    for at in range(0, len(column), BLOCK):
        block = column[at : at + BLOCK]
        order = np.argsort(block, kind="stable")
        numbers = block[order]
        result[free[numbers] + np.arange(len(numbers)) - np.searchsorted(numbers, numbers)] = at + order
        free += np.bincount(numbers, minlength=kinds)
    return result


def _temporary() -> IO[bytes]:
    return tempfile.TemporaryFile(dir=cache_directory("tables"))


def _mapped(stream: IO[bytes]) -> mmap.mmap | bytes:
    """The written file, mapped and writable; the mapping outlives the file object."""
    stream.flush()
    return mmap.mmap(stream.fileno(), 0) if stream.tell() else b""
