"""What the caches on disk share: how much they may hold, and the names of their stores."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import DTypeLike

from edgetl.cache import cache_directory
from edgetl.finetune.cache.store import trim

VERSION = 2
"""Part of every store's name; raised when decoding or the layout of the rows change."""

DEFAULT_GB = 20.0


class Cache(msgspec.Struct, frozen=True, kw_only=True):
    """The folder of the stores, and how many bytes they may take together."""

    root: Path
    limit_bytes: int

    def holds(self, rows: int, shape: tuple[int, ...], dtype: DTypeLike) -> bool:
        """Whether a store of so many rows is within the limit by itself; others make room for it."""
        return rows * math.prod(shape) * np.dtype(dtype).itemsize <= self.limit_bytes


def open_cache(gigabytes: float = DEFAULT_GB) -> Cache:
    """The cache of this user, trimmed to `gigabytes` (10⁹ bytes): what was not used for longest goes first."""
    root = cache_directory("rows")
    limit = int(gigabytes * 1e9)
    trim(root, limit)
    return Cache(root=root, limit_bytes=limit)


def store_key(kind: str, identity: Sequence[object]) -> str:
    """A folder name for rows of this identity."""
    return f"{kind}-{hashlib.sha256(msgspec.json.encode([VERSION, *identity])).hexdigest()[:40]}"
