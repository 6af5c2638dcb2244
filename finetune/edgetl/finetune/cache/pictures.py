"""Prepared pixels of samples: decoded once into a cache, or again at every reading where the cache has no room."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetl.errors import DataError
from edgetl.finetune.cache.room import Cache, store_key
from edgetl.finetune.cache.store import RowStore
from edgetl.finetune.data.table import Samples
from edgetl.tasks.images import ImageInput, decoder_version
from edgetl.tasks.loading import prepare_files
from edgetl.types import Pixels, Track, silent

Decoded = tuple[int | np.int64, Pixels | DataError]

BLOCK = 64
"""Decoded images are written this many at a time."""


class Pictures(msgspec.Struct, frozen=True, kw_only=True):
    """The pixels of `samples`. `numbers` are their rows in `store`; without a store every reading decodes."""

    samples: Samples
    root: Path
    spec: ImageInput
    store: RowStore | None = None
    numbers: NDArray[np.int64] | None = None

    def stream(self, positions: Sequence[int] | NDArray[np.int64]) -> Iterator[Pixels | DataError]:
        """The pixels (height, width, 3) of each position in order, or why it has none."""
        if self.store is None or self.numbers is None:
            yield from prepare_files((self.root / self.samples.path(int(i)) for i in positions), self.spec)
            return
        rows = self.store.rows()
        for i in positions:
            number = self.numbers[i]
            # a sample that could not be decoded before is tried again: its error says why
            yield rows[number] if number >= 0 else next(prepare_files([self._path(int(i))], self.spec))

    def read(self, positions: NDArray[np.int64]) -> Pixels:
        """Pixels (len(positions), height, width, 3). Raises DataError."""
        if self.store is not None and self.numbers is not None and (self.numbers[positions] >= 0).all():
            cached: Pixels = self.store.rows()[self.numbers[positions]]
            return cached
        images = list(self.stream(positions))
        for image in images:
            if isinstance(image, DataError):
                raise image
        return np.stack(images)  # type: ignore[arg-type]

    def _path(self, position: int) -> Path:
        return self.root / self.samples.path(position)


def decode_once(
    samples: Samples, root: Path, spec: ImageInput, cache: Cache, track: Track
) -> tuple[Pictures, dict[str, DataError]]:
    """Decodes what the cache lacks; the second result says which images cannot be decoded, by path.

    Where the pixels do not fit into the cache they are decoded now, to find the bad ones, and again when read.
    """
    shape = (spec.height, spec.width, 3)
    plain = Pictures(samples=samples, root=root, spec=spec)
    if not cache.holds(len(samples), shape, np.uint8):
        return plain, undecodable(plain, np.arange(len(samples)), track)
    store = RowStore(cache.root / store_key("pixels", [decoder_version(), spec]), shape, np.uint8)
    digests = samples.digests
    with store.writing():
        todo = absent(store, digests)
        _fill(store, digests, track(zip(todo, plain.stream(todo), strict=True), "decode", len(todo)))
        numbers = store.find(digests)
    bad = undecodable(plain, np.flatnonzero(numbers < 0), silent)
    return Pictures(samples=samples, root=root, spec=spec, store=store, numbers=numbers), bad


def absent(store: RowStore, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The positions, in order, whose rows `store` lacks; of equal files only the first."""
    missing = np.flatnonzero(store.find(digests) < 0)
    if not len(missing):
        return missing
    # 64 bits tell files apart as well as 256, and sort in a fraction of the memory
    prefixes = np.ascontiguousarray(digests[missing, :8]).view(np.uint64).reshape(-1)
    return missing[np.sort(np.unique(prefixes, return_index=True)[1])]


def undecodable(pictures: Pictures, positions: Sequence[int] | NDArray[np.int64], track: Track) -> dict[str, DataError]:
    """Why images cannot be decoded, by path."""
    watched = track(zip(positions, pictures.stream(positions), strict=True), "check images", len(positions))
    return {pictures.samples.path(int(i)): image for i, image in watched if isinstance(image, DataError)}


def _fill(store: RowStore, digests: NDArray[np.uint8], decoded: Iterable[Decoded]) -> None:
    for positions, images in blocks(decoded, BLOCK):
        store.append(digests[positions], images)


def blocks(decoded: Iterable[Decoded], size: int) -> Iterator[tuple[NDArray[np.int64], Pixels]]:
    """Positions and pixels (images, height, width, 3) of up to `size` images that can be decoded."""
    positions: list[int | np.int64] = []
    images: list[Pixels] = []
    for position, image in decoded:
        if isinstance(image, DataError):
            continue
        positions.append(position)
        images.append(image)
        if len(images) == size:
            yield np.array(positions), np.stack(images)
            positions, images = [], []
    if images:
        yield np.array(positions), np.stack(images)
