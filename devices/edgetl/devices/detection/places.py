"""Boxes in the wrong place: letterbox bars that were forgotten or counted twice, and any other move or scale."""

from collections.abc import Iterator

import numpy as np

from edgetl.devices.detection.rows import Compared
from edgetl.tasks.detections import areas, own_overlaps
from edgetl.tasks.images import BARS, ImageInput
from edgetl.types import Array

MATERIAL = 0.9
"""A move matters when a box overlaps with where it was by less; rounding moves boxes less than that."""

ROUNDS = 10
"""So often rows are paired anew with the nearest answers, where they have no order, and the move is estimated again."""


def bars(images: Array) -> Array:
    """Width of the letterbox bar left of each photo and height of that above it, (photos, 2), from its pixels.

    `images`: uint8 (photos, height, width, 3).
    """
    grey = (images == BARS).all(axis=3)
    left, top = (np.cumprod(grey.all(axis=axis), axis=1).sum(axis=1) for axis in (1, 2))
    return np.stack([left, top], axis=1).astype(np.float64)


def bar_faults(rows: Compared, images: Array, spec: ImageInput) -> dict[str, Array]:
    """The rows' boxes if the letterbox's bars were handled wrongly, by what is said of it."""
    if spec.mode != "letterbox":
        return {}
    offset = np.tile(bars(images)[rows.photo], 2)
    whole = np.tile(rows.size, 2)
    content = np.maximum(whole - 2 * offset, 1)
    return {
        "the letterbox's offset is missing: boxes lie as if the photo began in the corner": rows.boxes - offset,
        "the letterbox's offset is added twice": rows.boxes + offset,
        "half of the letterbox's offset is missing": rows.boxes - offset / 2,
        "the letterbox's offset is added one and a half times": rows.boxes + offset / 2,
        "boxes lie as if the photo filled the input, without bars": (rows.boxes - offset) * whole / content,
    }


def moved(rows: Compared) -> Iterator[tuple[str, Array]]:
    """The rows' boxes under the move, and then under the scale and move, that fit best; where that is a material one.

    A move is the weighted median, a scale the ratio of weighted spreads: a few wild boxes change neither.
    """
    for scaled in (False, True):
        boxes, factor = rows.boxes, np.ones(2)
        for _ in range(1 if rows.place is not None else ROUNDS):
            said = rows.said(boxes, rows.scores)[0]
            factor = _scale(said, rows) if scaled else np.ones(2)
            shift = _median(said - np.tile(factor, 2) * rows.boxes, rows.weighs)
            boxes = np.tile(factor, 2) * rows.boxes + np.tile(shift, 2)
        if _overlap(rows.boxes, boxes) < MATERIAL:
            by = f"moved by {shift[0]:+.1f}, {shift[1]:+.1f} pixels"
            yield (
                (f"boxes are scaled by {factor[0]:.3f}, {factor[1]:.3f} and {by}" if scaled else f"boxes are {by}"),
                boxes,
            )


def _scale(said: Array, rows: Compared) -> Array:
    """Of x and y: how widths and heights of boxes compare."""
    there, here = (np.maximum(each[:, 2:] - each[:, :2], 1e-9) for each in (said, rows.boxes))
    return np.exp(_median(np.tile(np.log(there / here), 2), rows.weighs))


def _median(values: Array, weighs: Array) -> Array:
    """The weighted median of x and of y in `values` (rows, 4)."""
    both, twice = np.concatenate([values[:, :2], values[:, 2:]]), np.tile(weighs, 2)
    order = np.argsort(both, axis=0)
    sums = np.cumsum(twice[order], axis=0)
    middle = np.argmax(sums >= sums[-1] / 2, axis=0)
    return both[order[middle, range(2)], range(2)]


def _overlap(these: Array, those: Array) -> float:
    """The median overlap of each with its own."""
    kept = areas(these) > 0
    return float(np.median(own_overlaps(these[kept], those[kept]))) if kept.any() else 1.0
