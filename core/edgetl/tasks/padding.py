"""Rows of different length as one array."""

from collections.abc import Sequence

import numpy as np

from edgetl.types import Array


def padded(rows: Sequence[Sequence[int] | Array], fill: int) -> Array:
    """int64 of shape (rows, longest row), filled up at the end."""
    found = np.full((len(rows), max((len(row) for row in rows), default=1)), fill, np.int64)
    for place, row in zip(found, rows, strict=True):
        place[: len(row)] = row
    return found
