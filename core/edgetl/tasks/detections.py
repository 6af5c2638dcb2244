"""From a detector's boxes and scores to the objects of a photo: the one postprocessing of edgetl.

Greedy non-maximum suppression per class, as ONNX's NonMaxSuppression defines it, in the same float32 arithmetic.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from edgetl.tasks.images import ImageInput, placement
from edgetl.types import Array

LEAST_SCORE = 0.01
"""What scores less counts for no metric."""

COLUMNS = 7
"""Of a packed object: the photo's number, label index, score, left, top, right, bottom."""


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """One object: its label, how sure the model is (0–1), and left, top, right, bottom in pixels of the photo."""

    label: str
    score: float
    box: tuple[float, float, float, float]


class Detections(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one photo: its objects, the surest first."""

    objects: tuple[Box, ...]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The objects of one photo as arrays, the surest first: `boxes` (objects, 4) left, top, right, bottom in pixels,
    `scores` (objects,), `classes` (objects,) label indices. Of what truly is there a score of 0 says that it counts
    neither as found nor as missed.
    """

    boxes: Array
    scores: Array
    classes: Array


def found(boxes: Array, scores: Array, *, threshold: float, iou: float | None, most: int) -> Found:
    """The objects among `boxes` (rows, 4) with `scores` (rows, labels) of at least `threshold`, at most `most`.

    Of two boxes of a class that overlap by more than `iou` the surer stays; None: the model repeats no object itself.
    """
    rows, classes = np.nonzero(scores >= threshold)
    chosen = [kept_rows(boxes, scores[:, label], rows[classes == label], iou, most) for label in np.unique(classes)]
    row = np.concatenate([np.zeros(0, np.int64), *chosen])
    label = np.repeat(np.unique(classes), [len(each) for each in chosen]) if chosen else np.zeros(0, np.int64)
    best = np.argsort(-scores[row, label], kind="stable")[:most]
    return Found(boxes=boxes[row[best]], scores=scores[row[best], label[best]], classes=label[best])


def kept_rows(boxes: Array, scores: Array, rows: Array, iou: float | None, most: int) -> Array:
    """Which of `rows` stay for a class with `scores` (all rows,), the surest first, at most `most`."""
    order = rows[np.argsort(-scores[rows], kind="stable")]
    return order[:most] if iou is None else order[suppressed(boxes[order], iou, most)]


def suppressed(boxes: Array, iou: float, most: int) -> Array:
    """Which of `boxes` (n, 4), the surest first, greedy suppression keeps: indices in that order, at most `most`."""
    boxes = boxes.astype(np.float32)
    left = np.arange(len(boxes))
    kept: list[int] = []
    while len(left) and len(kept) < most:
        kept.append(int(left[0]))
        left = left[1:][overlaps(boxes[left[:1]], boxes[left[1:]])[0] <= np.float32(iou)]
    return np.array(kept, np.int64)


def only_kept(boxes: Array, scores: Array, *, iou: float, most: int) -> Array:
    """`scores` (photos, rows, labels) with 0 for every box that suppression drops, as a graph gives them that holds it.

    At most `most` boxes of a class stay in a photo; what scores too little for any metric does not.
    """
    result = np.zeros_like(scores)
    for photo, (own, given) in enumerate(zip(boxes, scores, strict=True)):
        for label in range(given.shape[1]):
            rows = kept_rows(own, given[:, label], np.flatnonzero(given[:, label] > LEAST_SCORE / 2), iou, most)
            result[photo, rows, label] = given[rows, label]
    return result


def overlaps(these: Array, those: Array) -> Array:
    """Intersection over union of every pair, (n, 4) and (m, 4) → (n, m); 0 where both are empty."""
    shared = intersections(these, those)
    union = areas(these)[:, None] + areas(those)[None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def own_overlaps(these: Array, those: Array) -> Array:
    """Intersection over union of each of (n, 4) with its own of (n, 4): (n,)."""
    sides = np.minimum(these[:, 2:], those[:, 2:]) - np.maximum(these[:, :2], those[:, :2])
    shared = np.prod(np.clip(sides, 0, None), axis=1)
    union = areas(these) + areas(those) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def intersections(these: Array, those: Array) -> Array:
    """The area that each pair shares, (n, 4) and (m, 4) → (n, m), in square pixels."""
    corner = np.maximum(these[:, None, :2], those[None, :, :2])
    other = np.minimum(these[:, None, 2:], those[None, :, 2:])
    return np.asarray(np.prod(np.clip(other - corner, 0, None), axis=2))


def areas(boxes: Array) -> Array:
    """Of `boxes` (n, 4) in square pixels; an inside-out box has none."""
    return np.asarray(np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1))


def in_photo(boxes: Array, size: tuple[int, int], spec: ImageInput) -> Array:
    """`boxes` (n, 4) in pixels of the input, in pixels of a photo of (width, height), cut at its borders."""
    lies = placement(size, spec)
    moved = (boxes - np.array(lies.offset * 2)) / np.array(lies.scale * 2)
    return np.asarray(np.clip(moved, 0, np.array(size * 2, float)))


def in_input(boxes: Array, size: tuple[int, int], spec: ImageInput) -> Array:
    """The reverse of `in_photo`, without cutting."""
    lies = placement(size, spec)
    return np.asarray(boxes * np.array(lies.scale * 2) + np.array(lies.offset * 2))


def detections(each: Found, labels: Sequence[str]) -> Detections:
    """With the names of the labels, as applications get it."""
    return Detections(
        objects=tuple(
            Box(label=labels[int(label)], score=float(score), box=(float(a), float(b), float(c), float(d)))
            for (a, b, c, d), score, label in zip(each.boxes, each.scores, each.classes, strict=True)
        )
    )


def as_array(each: Sequence[Found]) -> Array:
    """An array of shape (photos,) that holds the objects of each."""
    array = np.empty(len(each), dtype=object)
    array[:] = each
    return array


def packed(photos: Array) -> Array:
    """The objects of all `photos` as rows, float32 of shape (objects, 7)."""
    rows = [
        np.column_stack([np.full(len(each.scores), i), each.classes, each.scores, each.boxes])
        for i, each in enumerate(photos)
    ]
    return np.concatenate([np.zeros((0, COLUMNS)), *rows]).astype(np.float32)


def unpacked(rows: Array, photos: int, labels: int) -> Array:
    """The reverse of `packed`. Raises ValueError for rows of no such photo or label, or of other than numbers."""
    if rows.ndim != 2 or rows.shape[1] != COLUMNS or rows.dtype != np.float32 or not np.isfinite(rows).all():
        raise ValueError("no rows of objects")
    number, label = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
    if rows.size and not (0 <= number.min() <= number.max() < photos and 0 <= label.min() <= label.max() < labels):
        raise ValueError("names no photo or no label")
    order = np.argsort(number, kind="stable")
    each = np.split(order, np.searchsorted(number[order], np.arange(1, photos)))[:photos]
    return as_array([Found(boxes=rows[at, 3:], scores=rows[at, 2], classes=label[at]) for at in each])
