"""Outputs of the frozen part of a network: computed once for each image and view, kept on disk by content."""

from collections.abc import Iterator
from pathlib import Path
from typing import overload

import msgspec
import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgetl.errors import DataError
from edgetl.finetune.backbones.weights import state_digest
from edgetl.finetune.cache.compute import Choice
from edgetl.finetune.cache.frozen import BATCH, CUDA_BATCH, from_rows, frozen_part, output_shape, row_dtype
from edgetl.finetune.cache.pictures import Pictures, absent, blocks, undecodable
from edgetl.finetune.cache.room import DEFAULT_GB, Cache, store_key
from edgetl.finetune.cache.store import RowStore
from edgetl.finetune.data.table import Samples
from edgetl.finetune.training.augment import Augment, augmented
from edgetl.tasks import ImageClassification
from edgetl.tasks.images import decoder_version
from edgetl.types import Array, Pixels, Track, silent

MAX_ROWS_IN_MEMORY = 20_000
"""Features of up to this many samples are one array; of more, they are read from disk piece by piece."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Which picture of each image: number 0 is the image itself, the others are random views."""

    number: int = 0
    augment: Augment = "none"
    seed: int = 0


PLAIN = View()


class Rows:
    """Rows of a store in the order of a list of samples, read when asked for: `len` and `[positions]`."""

    def __init__(self, store: RowStore, numbers: NDArray[np.int64]) -> None:
        self._store, self._numbers = store, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, positions: slice) -> Array: ...
    @overload
    def __getitem__(self, positions: NDArray[np.int64]) -> Array: ...
    def __getitem__(self, positions: slice | NDArray[np.int64]) -> Array:
        """float32 of shape (positions, *shape of a row)."""
        return np.asarray(from_rows(self._store.rows()[self._numbers[positions]]).numpy())


class FeatureTable(msgspec.Struct, frozen=True, kw_only=True):
    """The rows computed for `samples`, the error of every image without, and how many were computed now."""

    samples: Samples
    store: RowStore
    numbers: NDArray[np.int64]
    bad: dict[str, DataError]
    computed: int

    def rows(self, samples: Samples) -> tuple[Array, Array]:
        """Features (samples, width) and label indices (samples,) of those that have features."""
        found = self.store.find(samples.digests)
        kept = np.flatnonzero(found >= 0)
        if not len(kept):
            raise DataError(f"no {samples[0].split} image of the data set can be decoded", hint="check the files")
        features = Rows(self.store, found[kept])
        truths = np.asarray(samples.labels[kept], np.int64)
        return (features[:] if len(kept) <= MAX_ROWS_IN_MEMORY else features), truths  # type: ignore[return-value]


def cached_features(
    extractor: nn.Module,
    samples: Samples,
    root: Path,
    task: ImageClassification,
    choice: Choice,
    cache: Path,
    track: Track,
) -> FeatureTable:
    """Features (width,) of the images as they are; `cache` is the folder of the stores."""
    pictures = Pictures(samples=samples, root=root, spec=task.input)
    holder = Cache(root=cache, limit_bytes=int(DEFAULT_GB * 1e9))
    return activations(extractor, pictures, task, choice, PLAIN, holder, track)


def activations(
    module: nn.Module,
    pictures: Pictures,
    task: ImageClassification,
    choice: Choice,
    view: View,
    cache: Cache,
    track: Track,
    *,
    part: str = "features",
) -> FeatureTable:
    """Looks the outputs of the frozen `module` up by content and computes those that are missing.

    `part` names the cut: two parts of one network can have the same weights.
    """
    shape = output_shape(module, task)
    identity = [part, choice.kind, state_digest(module), task.input, task.mean, task.std, decoder_version(), view]
    store = RowStore(cache.root / store_key("frozen", identity), shape, row_dtype(choice))
    digests = pictures.samples.digests
    computed = 0
    with store.writing():
        todo = absent(store, digests)
        if len(todo):
            run = frozen_part(module, task, choice)
            seen = track(zip(todo, _views(pictures, todo, view, digests), strict=True), part, len(todo))
            for positions, batch in blocks(seen, CUDA_BATCH if choice.kind.startswith("cuda") else BATCH):
                store.append(digests[positions], run(batch))
                computed += len(positions)
        numbers = store.find(digests)
    bad = undecodable(pictures, np.flatnonzero(numbers < 0), silent)
    return FeatureTable(samples=pictures.samples, store=store, numbers=numbers, bad=bad, computed=computed)


def _views(
    pictures: Pictures, positions: NDArray[np.int64], view: View, digests: NDArray[np.uint8]
) -> Iterator[Pixels | DataError]:
    for position, image in zip(positions, pictures.stream(positions), strict=True):
        if view.number == 0 or isinstance(image, DataError):
            yield image
        else:
            yield augmented(image, view.augment, view.seed, view.number, digests[position].tobytes())
