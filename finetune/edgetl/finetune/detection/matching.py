"""Which of the boxes found are right, which objects were missed, and from which score on to believe a box."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetl.run import BoxRecord
from edgetl.tasks.detections import Found, overlaps

IOU = 0.5
"""A box that overlaps an object of its class by so much has found it."""

THRESHOLDS = np.arange(5, 96, 5) / 100


class Matched(msgspec.Struct, frozen=True, kw_only=True):
    """Of one photo: which found boxes are right, which count (the others lie on objects to be ignored), which objects
    were found; boolean, in the order of the boxes and of the objects.
    """

    right: NDArray[np.bool_]
    counts: NDArray[np.bool_]
    found: NDArray[np.bool_]


def matched(objects: Sequence[BoxRecord], answer: Found) -> Matched:
    """The surest box takes the free object of its class that it overlaps most, by at least 0.5; then the next."""
    places = np.array([[o.left, o.top, o.right, o.bottom] for o in objects], np.float64).reshape(-1, 4)
    labels = np.array([o.label for o in objects], np.int64)
    ignored = np.array([o.ignored for o in objects], bool)
    shared = overlaps(answer.boxes.astype(np.float64), places)
    shared[answer.classes[:, None] != labels[None]] = 0
    right, counts = np.zeros(len(shared), bool), np.ones(len(shared), bool)
    found = np.zeros(len(objects), bool)
    for row in range(len(shared)):
        free = np.where(found | ignored, 0, shared[row])
        if len(free) and free.max() >= IOU:
            right[row] = found[int(free.argmax())] = True
        else:
            counts[row] = not (shared[row][ignored] >= IOU).any()
    return Matched(right=right, counts=counts, found=found)


def best_threshold(truths: Sequence[Sequence[BoxRecord]], answers: Sequence[Found], labels: int) -> float:
    """The score from which on boxes count as found: where the mean F1 of the classes is best, in steps of 0.05."""
    pairs = [matched(objects, answer) for objects, answer in zip(truths, answers, strict=True)]
    classes = np.concatenate([answer.classes for answer in answers])
    scores = np.concatenate([answer.scores for answer in answers])
    right = np.concatenate([each.right for each in pairs])
    counts = np.concatenate([each.counts for each in pairs])
    objects = np.bincount([o.label for each in truths for o in each if not o.ignored], minlength=labels)
    means = []
    for threshold in THRESHOLDS:
        kept = (scores >= threshold) & counts
        hits = np.bincount(classes[kept & right], minlength=labels)
        said = np.bincount(classes[kept], minlength=labels)
        means.append(float(np.mean((2 * hits / np.maximum(1, said + objects))[objects > 0])))
    return float(THRESHOLDS[int(np.argmax(means))])
