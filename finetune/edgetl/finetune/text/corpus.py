"""Texts, or their token ids, in one mapped file: memory does not grow with their number."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from edgetl.finetune.data.table import stored
from edgetl.types import Array

OFFSET = np.dtype(np.int64)

BLOCK = 1000
"""So many texts are encoded at a time."""


class Ragged:
    """Rows of different length, one after another: row i is `values[starts[i]:starts[i + 1]]`."""

    def __init__(self, values: Array, starts: NDArray[np.int64]) -> None:
        self._values, self.starts = values, starts

    @classmethod
    def of(cls, pieces: Iterable[tuple[Array, Sequence[int] | Array]], dtype: "np.dtype[np.generic]") -> "Ragged":
        """Written as they come: the values of some rows one after another, and how many each row has."""
        lengths: list[Array] = []

        def values() -> Iterator[Array]:
            for joined, counts in pieces:
                lengths.append(np.asarray(counts, OFFSET))
                yield joined

        stored_values = stored(values(), dtype)
        ends = np.cumsum(np.concatenate([np.zeros(1, OFFSET), *lengths]))
        return cls(stored_values, ends)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, i: int) -> Array:
        return self._values[self.starts[i] : self.starts[i + 1]]

    def lengths(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of these rows, (rows,)."""
        return self.starts[rows + 1] - self.starts[rows]


class Corpus(Sequence[str]):
    """All texts of a data set by the number of their row, from 0."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._bytes = Ragged.of(_blocks(texts), np.dtype(np.uint8))

    def __len__(self) -> int:
        return len(self._bytes)

    def __getitem__(self, i: int) -> str:  # type: ignore[override]
        return self.raw(i).decode()

    def raw(self, i: int) -> bytes:
        """The text in UTF-8."""
        return bytes(self._bytes[i].tobytes())


def _blocks(texts: Iterable[str]) -> Iterator[tuple[Array, list[int]]]:
    remaining = iter(texts)
    while block := [text.encode() for text in islice(remaining, BLOCK)]:
        yield np.frombuffer(b"".join(block), np.uint8), [len(raw) for raw in block]
