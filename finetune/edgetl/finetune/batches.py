"""Groups decoded images into batches and sets aside those that cannot be decoded."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from edgetl.errors import DataError
from edgetl.run import SampleRecord
from edgetl.types import Pixels

K = TypeVar("K")

BATCH = 8
"""Small batches: larger ones lose more to page faults than they gain (measured on 2 cores)."""


def batches(
    decoded: Iterable[tuple[SampleRecord, Pixels | DataError]],
    bad: dict[str, DataError],
    key: Callable[[SampleRecord], K],
) -> Iterator[tuple[list[K], Pixels]]:
    """The keys and the pixels, shape (batch, height, width, 3), of up to `BATCH` images at a time.

    An image that cannot be decoded goes to `bad`, by path.
    """
    keys: list[K] = []
    pixels: list[Pixels] = []
    for sample, image in decoded:
        if isinstance(image, DataError):
            bad[sample.path] = image
            continue
        keys.append(key(sample))
        pixels.append(image)
        if len(pixels) == BATCH:
            yield keys, np.stack(pixels)
            keys, pixels = [], []
    if pixels:
        yield keys, np.stack(pixels)
