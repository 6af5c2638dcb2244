"""Where a training step gets its inputs: augmented pixels, or cached activations; read a few batches ahead."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgetl.finetune.cache.features import Rows
from edgetl.finetune.cache.pictures import Pictures
from edgetl.finetune.graph import DeployedModel
from edgetl.finetune.training.augment import Augment, augmented
from edgetl.types import Array, Pixels

AHEAD = 3
"""Batches that are ready or in the making at any time."""


class Feed(Protocol):
    """`read` runs in threads and is the same for the same arguments; `tensor` moves what it gave to the model."""

    def read(self, positions: NDArray[np.int64], epoch: int) -> Array: ...
    def tensor(self, batch: Array) -> Tensor: ...


class PixelFeed(msgspec.Struct, frozen=True, kw_only=True):
    """Random views of uint8 pixels; the model's own normalisation makes them its input."""

    pictures: Pictures
    entrance: DeployedModel
    device: torch.device
    augment: Augment
    seed: int

    def read(self, positions: NDArray[np.int64], epoch: int) -> Pixels:
        """uint8 of shape (positions, height, width, 3)."""
        pixels = self.pictures.read(positions)
        if self.augment == "none":
            return pixels
        digests = self.pictures.samples.digests[positions]
        views = [
            augmented(image, self.augment, self.seed, epoch, digest.tobytes())
            for image, digest in zip(pixels, digests, strict=True)
        ]
        return np.stack(views)

    def tensor(self, batch: Array) -> Tensor:
        pixels = self.entrance.normalise(torch.from_numpy(batch).to(self.device, non_blocking=True))
        return pixels.contiguous(memory_format=torch.channels_last)


class RowFeed(msgspec.Struct, frozen=True, kw_only=True):
    """Cached activations at the frozen boundary: each epoch takes the next of the cached views."""

    views: Sequence[Rows]
    device: torch.device

    def read(self, positions: NDArray[np.int64], epoch: int) -> Array:
        """float32 of shape (positions, *activation)."""
        return self.views[epoch % len(self.views)][positions]

    def tensor(self, batch: Array) -> Tensor:
        rows = torch.from_numpy(batch).to(self.device, non_blocking=True)
        return rows.contiguous(memory_format=torch.channels_last) if rows.ndim == 4 else rows


def ahead(feed: Feed, batches: Sequence[NDArray[np.int64]], epoch: int) -> Iterator[tuple[NDArray[np.int64], Array]]:
    """Each batch of positions with what the feed reads for it, in order, read by threads in advance."""
    waiting: deque[Future[Array]] = deque()
    workers = max(1, min(AHEAD, (os.cpu_count() or 1) // 2))
    with ThreadPoolExecutor(workers) as pool:
        try:
            for i, positions in enumerate(batches):
                while len(waiting) < AHEAD and i + len(waiting) < len(batches):
                    waiting.append(pool.submit(feed.read, batches[i + len(waiting)], epoch))
                yield positions, waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
