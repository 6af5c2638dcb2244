"""What a device may do to an encoded image instead of the right preparation, and which of these explains it."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import numpy as np

from edgetl.errors import DataError
from edgetl.tasks.images import RESAMPLING, ImageInput, crop_box, decode, prepare, resize
from edgetl.types import Pixels

Preparation = Callable[[bytes], Pixels]

MODES: tuple[Literal["crop", "squash"], ...] = ("crop", "squash")
INTERPOLATIONS: tuple[Literal["nearest", "bilinear", "bicubic"], ...] = ("nearest", "bilinear", "bicubic")


def right_preparation(spec: ImageInput) -> Preparation:
    """Encoded bytes → uint8 pixels (height, width, 3), as edgetl does it."""
    return lambda content: prepare(content, spec)


def wrong_preparations(spec: ImageInput) -> dict[str, Preparation]:
    """Name → a preparation with that one fault."""
    right = right_preparation(spec)
    others: dict[str, Preparation] = {
        "red and blue swapped": lambda content: right(content)[..., ::-1],
        "EXIF orientation ignored": lambda content: np.asarray(resize(decode(content, upright=False), spec)),
    }
    if spec.mode == "crop":
        for across, down in ((1, 0), (0, 1), (1, 1), (-1, 0), (0, -1), (-1, -1)):
            others[f"crop off by one pixel ({across:+d}, {down:+d})"] = _shifted(spec, across, down)
    for mode in MODES:
        for interpolation in INTERPOLATIONS:
            other = msgspec.structs.replace(spec, mode=mode, interpolation=interpolation)
            if other != spec:
                others[f"{interpolation} {mode} for {spec.interpolation} {spec.mode}"] = right_preparation(other)
    return others


def explanation(encoded: Sequence[bytes], found: Pixels, expected: Pixels, spec: ImageInput) -> str | None:
    """The fault that makes `found` of `encoded`, or, when this machine prepares rightly, that made `expected`."""
    right = _distance(encoded, found, right_preparation(spec))
    odd, distance = (found, right) if right > 0 else (expected, _distance(encoded, expected, right_preparation(spec)))
    scores = {name: _distance(encoded, odd, make) for name, make in wrong_preparations(spec).items()}
    best = min(scores, key=lambda name: scores[name])
    return best if scores[best] < distance / 2 else None


def _distance(encoded: Sequence[bytes], pixels: Pixels, make: Preparation) -> float:
    """Mean absolute difference in grey levels; infinite when an image cannot be decoded."""
    try:
        made = [make(content) for content in encoded]
    except DataError:
        return float("inf")
    return float(np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(made, pixels, strict=True)]))


def _shifted(spec: ImageInput, across: int, down: int) -> Preparation:
    """The crop that many pixels of the resized image to the right and down, as far as the image reaches."""

    def make(content: bytes) -> Pixels:
        image = decode(content)
        left, top, right, bottom = crop_box(image.size, spec)
        step = min(image.size) / max(spec.resize, 1)
        x = min(max(across * step, -left), image.width - right)
        y = min(max(down * step, -top), image.height - bottom)
        box = (left + x, top + y, right + x, bottom + y)
        return np.asarray(image.resize((spec.width, spec.height), RESAMPLING[spec.interpolation], box=box))

    return make
