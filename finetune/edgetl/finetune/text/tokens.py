"""Texts as token ids: the longest length that the data need, and every text's ids on disk."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgetl.finetune.data.table import Samples
from edgetl.finetune.text.corpus import Ragged
from edgetl.finetune.text.dataset import TextDataset, rows_of
from edgetl.tasks.text_classification import TextInput
from edgetl.tasks.tokens import Tokens
from edgetl.types import Array, Track

TOGETHER = 1000
"""So many texts are split at a time."""

COVERED = 99.5
"""So many of 100 training texts reach the model whole; the longest few would cost all others memory and graph size."""

LOOKED_AT = 20_000
"""Texts whose length decides; more tell nothing new."""

MULTIPLE = 8
"""Lengths are rounded up to this: kernels work on blocks of it."""

ID = np.dtype(np.int32)


def needed_length(data: TextDataset, tokenizer: Path, most: int, seed: int) -> int:
    """Tokens that hold all but the longest training texts, a multiple of 8 and at most `most`."""
    rows = rows_of(data.dataset.split("train"))
    if len(rows) > LOOKED_AT:
        rows = np.random.default_rng(seed).choice(rows, LOOKED_AT, replace=False)
    split = Tokens(tokenizer, TextInput(max_length=most))
    lengths = [length for _, counts in _split_texts(data, rows, split) for length in counts.tolist()]
    wanted = int(np.ceil(np.percentile(lengths, COVERED) / MULTIPLE)) * MULTIPLE
    return max(2, min(most, wanted))


class TokenTable:
    """The ids of every text of a data set, cut after the task's `max_length`."""

    def __init__(self, data: TextDataset, tokenizer: Path, spec: TextInput, track: Track) -> None:
        """Raises ArtefactError when `tokenizer` is none."""
        rows = np.arange(len(data.corpus))
        split = Tokens(tokenizer, spec)
        pieces = track(_split_texts(data, rows, split), "split texts", -(-len(rows) // TOGETHER))
        self._ids, self.spec = Ragged.of(pieces, ID), spec

    def lengths(self, samples: Samples) -> NDArray[np.int64]:
        """Tokens of each sample, (samples,)."""
        return self._ids.lengths(rows_of(samples))

    def batch(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 of shape (rows, 2, longest): the ids, filled up with `pad_id`, and the mask."""
        lengths = self._ids.lengths(rows)
        found = np.zeros((len(rows), 2, int(lengths.max(initial=1))), np.int64)
        found[:, 0] = self.spec.pad_id
        for place, row, length in zip(found, rows.tolist(), lengths.tolist(), strict=True):
            place[0, :length] = self._ids[row]
            place[1, :length] = 1
        return found


def _split_texts(data: TextDataset, rows: NDArray[np.int64], split: Tokens) -> Iterator[tuple[Array, Array]]:
    """The ids of some texts one after another, and how many each has."""
    for start in range(0, len(rows), TOGETHER):
        feeds = split([data.corpus[row] for row in rows[start : start + TOGETHER].tolist()]).feeds
        mask = feeds["mask"] == 1
        yield feeds["ids"][mask], mask.sum(axis=1)
