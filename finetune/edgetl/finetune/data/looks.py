"""What an image looks like in 64 bits, and which images look alike."""

import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import imagehash
import msgspec
import numpy as np
from PIL import Image

from edgetl.cache import cache_directory
from edgetl.errors import DataError
from edgetl.files import write_via
from edgetl.finetune.data.table import Samples
from edgetl.tasks.images import FORMATS, ImageInput, decoder_version, prepare
from edgetl.tasks.loading import in_order
from edgetl.types import Array, Track, silent

MAX_DISTANCE = 4
"""Images that differ in at most so many of 64 bits count as near duplicates.

Among 4.6 million pairs of different photos (hymenoptera, a part of CIFAR-10) none was nearer than 8; of copies saved
at JPEG quality 50, at half size or 15 % brighter, 96 % or more stayed within 4; of photos cropped
by 2 % at two edges, 64 %.
"""

MIN_CONTRAST = 8.0
"""Standard deviation in grey levels under which an image has no look of its own: the hash would be of its noise."""

BANDS = MAX_DISTANCE + 1
"""Two hashes within the distance agree in at least one of so many bands (pigeonhole)."""

MAX_CACHED = 200_000
"""Looks kept in the cache, 41 bytes each; the oldest go first."""

JOINED = 2**18
"""So many candidate pairs are compared at a time."""

THUMBNAIL = ImageInput(height=32, width=32, resize=32, mode="squash")
DRAFT = (64, 64)
"""A JPEG is decoded at the smallest eighth above this."""

_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


class Nearest(msgspec.Struct, frozen=True, kw_only=True):
    """For each judged look: its nearest partner's index and distance; 255 for none within `MAX_DISTANCE`."""

    distance: Array
    partner: Array


def look(path: Path) -> int | None:
    """The perceptual hash (DCT, 64 bits) of an image; None when it cannot be decoded or is nearly of one colour.

    Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.draft("RGB", DRAFT)
            small = Image.fromarray(prepare(image, THUMBNAIL)).convert("L")
    except (DataError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    if float(np.asarray(small).std()) < MIN_CONTRAST:
        return None
    return int.from_bytes(np.packbits(imagehash.phash(small).hash).tobytes(), "big")


def looks_of(samples: Samples, root: Path, track: Track = silent) -> tuple[Array, Array]:
    """(uint64 looks, whether there is one) of every sample, from the cache where its content was looked at before."""
    store = cache_directory("phash") / "looks.npz"
    contents = np.ascontiguousarray(samples.digests).view("V32")[:, 0]
    cached = dict(_read(store))
    todo = [i for i, content in enumerate(contents.tolist()) if content not in cached]
    found = track(in_order(look, (root / samples.path(i) for i in todo)), "compare images", len(todo))
    for i, value in zip(todo, found, strict=True):
        cached[contents[i].tobytes()] = (0, False) if value is None else (value, True)
    if todo:
        _write(store, cached)
    values = [cached[content] for content in contents.tolist()]
    return np.array([value for value, _ in values], np.uint64), np.array([known for _, known in values], bool)


def _version() -> str:
    return f"1, {decoder_version()}, imagehash {imagehash.__version__}, contrast {MIN_CONTRAST}"


def _read(store: Path) -> Iterator[tuple[bytes, tuple[int, bool]]]:
    """What an earlier run found; a cache that is missing, damaged or of other versions is empty."""
    try:
        with np.load(store, allow_pickle=False) as arrays:
            if str(arrays["version"]) != _version():
                return
            contents, looks, known = arrays["contents"], arrays["looks"], arrays["known"]
        rows = zip(contents.view("V32")[:, 0].tolist(), zip(looks.tolist(), known.tolist(), strict=True), strict=True)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return
    yield from rows


def _write(store: Path, cached: dict[bytes, tuple[int, bool]]) -> None:
    kept = list(cached.items())[-MAX_CACHED:]
    arrays: dict[str, Any] = {
        "version": np.array(_version()),
        "contents": np.frombuffer(b"".join(content for content, _ in kept), np.uint8).reshape(-1, 32),
        "looks": np.array([value for _, (value, _) in kept], np.uint64),
        "known": np.array([known for _, (_, known) in kept], bool),
    }
    write_via(store, lambda stream: np.savez(stream, **arrays))


def nearest(judged: Array, against: Array) -> Nearest:
    """The nearest of `against` (m,) for each of `judged` (n,), both uint64; compares only pairs that share a band."""
    ours, which = np.unique(judged, return_inverse=True)
    theirs, first = np.unique(against, return_index=True)
    distance, partner = np.full(len(ours), 255, np.uint8), np.zeros(len(ours), np.int64)
    for a, b in _candidates(ours, theirs):
        bits = _ONES[(ours[a] ^ theirs[b]).view(np.uint8).reshape(-1, 8)].sum(1).astype(np.uint8)
        order = np.argsort(-bits.astype(np.int16), kind="stable")  # the nearest is written last
        order = order[bits[order] < distance[a[order]]]
        distance[a[order]], partner[a[order]] = bits[order], b[order]
    distance[distance > MAX_DISTANCE] = 255
    partners = first[partner] if len(theirs) else partner
    return Nearest(distance=distance[which], partner=partners[which])


def _candidates(ours: Array, theirs: Array) -> Iterator[tuple[Array, Array]]:
    """Index pairs that agree in a whole band, a bounded number at a time."""
    edges = np.linspace(0, 64, BANDS + 1).astype(np.uint64)
    for low, high in pairwise(edges):
        mask = (np.uint64(1) << (high - low)) - np.uint64(1)
        mine, other = (ours >> low) & mask, (theirs >> low) & mask
        order = np.argsort(other, kind="stable")
        start = np.searchsorted(other[order], mine, "left")
        sizes = np.searchsorted(other[order], mine, "right") - start
        ends = np.cumsum(sizes)
        for at in range(0, int(ends[-1]) if len(ends) else 0, JOINED):
            pair = np.arange(at, min(at + JOINED, int(ends[-1])))
            a = np.searchsorted(ends, pair, "right")
            yield a, order[start[a] + pair - (ends[a] - sizes[a])]
