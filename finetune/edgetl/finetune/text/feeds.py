"""Where a training step gets its texts: batches of nearly equal length, padded to the longest of them.

Padding is computed like anything else: on one-sentence reviews a batch of 32 in random order is half padding.
"""

from collections.abc import Callable

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgetl.finetune.text.tokens import TokenTable
from edgetl.types import Array

WINDOW = 50
"""So many batches are sorted by length together: enough for 2 % of padding, and every epoch has other batches."""


class TokenFeed(msgspec.Struct, frozen=True, kw_only=True):
    """The texts at `rows` (positions,) of the table; a batch is int64 (positions, 2, longest): ids and mask."""

    table: TokenTable
    rows: NDArray[np.int64]
    device: torch.device

    def read(self, positions: NDArray[np.int64], epoch: int) -> Array:
        return self.table.batch(self.rows[positions])

    def tensor(self, batch: Array) -> Tensor:
        return torch.from_numpy(batch).to(self.device, non_blocking=True)


def by_length(
    lengths: NDArray[np.int64], batch_size: int
) -> Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.int64]]:
    """Reorders an epoch's positions so that each batch of `batch_size` has texts of nearly equal length.

    Sorted are `WINDOW` batches at a time, then all batches are shuffled. What is left over comes last.
    """

    def arrange(order: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        whole = len(order) // batch_size * batch_size
        window = WINDOW * batch_size
        windows = [order[start : min(start + window, whole)] for start in range(0, whole, window)]
        ranked = [part[np.argsort(lengths[part], kind="stable")] for part in windows]
        if not ranked:
            return order
        batches = np.concatenate(ranked).reshape(-1, batch_size)
        return np.concatenate([rng.permutation(batches).reshape(-1), order[whole:]])

    return arrange
