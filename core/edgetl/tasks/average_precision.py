"""How well a detector finds the objects of photos: average precision as COCO defines it.

Objects and detections are matched once; precision and recall are then sums over photos, so that any weighting of the
photos costs little. References: Lin et al., "Microsoft COCO", ECCV 2014, and https://cocodataset.org/#detection-eval.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from edgetl.tasks.detections import Found, areas, intersections, overlaps
from edgetl.types import Array

THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""A detection must overlap an object by at least so much, as intersection over union."""

LEVELS = np.linspace(0, 1, 101)
"""The recall levels at which precision is averaged."""

MOST = 100
"""So many detections of a label in a photo count, the surest."""

_CELLS = 2_000_000
"""Sums held at once, so that memory stays bounded."""


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """The detections of one label in all photos, the surest first: `photos` (detections,) where each lies, `right` and
    `wrong` (thresholds, detections), of which neither is what counts for nothing. `objects` (photos,): how many count.
    """

    photos: Array
    right: Array
    wrong: Array
    objects: Array


class Matches(msgspec.Struct, frozen=True, kw_only=True):
    """Detections held against the objects of `photos` photos, for each label, at each of `thresholds`."""

    photos: int
    thresholds: tuple[float, ...]
    labels: tuple[Ranked, ...]

    def at(self, threshold: float) -> "Matches":
        """At one of the thresholds alone."""
        row = [self.thresholds.index(threshold)]
        labels = tuple(
            Ranked(photos=each.photos, right=each.right[row], wrong=each.wrong[row], objects=each.objects)
            for each in self.labels
        )
        return Matches(photos=self.photos, thresholds=(threshold,), labels=labels)

    def only(self, label: int) -> "Matches":
        """Of one label alone."""
        return Matches(photos=self.photos, thresholds=self.thresholds, labels=(self.labels[label],))

    def precisions(self, weights: Array | None = None, present: Array | None = None) -> Array:
        """Average precision, 0–1, of shape (draws, thresholds, labels); NaN for a label without objects.

        `weights` (draws, photos): how often each photo counts; once by default. `present`: the same for the objects,
        where these should count otherwise than the detections. Whole numbers are summed exactly.
        """
        weights = np.ones((1, self.photos)) if weights is None else weights
        objects = weights if present is None else present
        by_photo = np.ascontiguousarray(weights.T, dtype=np.float64)
        found = np.empty((len(weights), len(self.thresholds), len(self.labels)))
        for label, ranked in enumerate(self.labels):
            total = objects @ ranked.objects.astype(np.float64)
            for row in range(len(self.thresholds)):
                found[:, row, label] = _precisions(ranked, row, by_photo, total)
        return found


def match(
    found: Sequence[Found], truths: Sequence[Found], labels: int, thresholds: Sequence[float] = THRESHOLDS
) -> Matches:
    """Holds what was found in each photo against what is there; boxes in the same pixels on both sides.

    Of a label's detections in a photo the surest choose first: the object they overlap most, an ignored one (with a
    score of 0) last. What has enough of its area in an ignored object is neither right nor wrong: COCO's crowds.
    """
    limits = np.array(thresholds)
    parts: list[list[tuple[int, Array, Array, Array]]] = [[] for _ in range(labels)]
    objects = np.zeros((labels, len(truths)), np.int64)
    for photo, (here, truth) in enumerate(zip(found, truths, strict=True)):
        ignored = truth.scores == 0
        objects[:, photo] = np.bincount(truth.classes[~ignored].astype(int), minlength=labels)
        for label in np.unique(here.classes).tolist():
            mine = np.flatnonzero(here.classes == label)
            mine = mine[np.argsort(-here.scores[mine], kind="stable")][:MOST]
            there = np.flatnonzero(truth.classes == label)
            there = there[np.argsort(ignored[there], kind="stable")]
            right, wrong = _matched(here.boxes[mine], truth.boxes[there], ignored[there], limits)
            parts[label].append((photo, here.scores[mine], right, wrong))
    ranked = tuple(_ranked(each, objects[label], len(limits)) for label, each in enumerate(parts))
    return Matches(photos=len(truths), thresholds=tuple(thresholds), labels=ranked)


def summary(matches: Matches, labels: Sequence[str]) -> dict[str, float]:
    """`map50`, `map` and `ap50 LABEL` of every label with objects, 0–1; 0 where no photo has any object."""
    found = matches.precisions()[0]
    first = found[matches.thresholds.index(0.5)]
    each = {f"ap50 {name}": float(value) for name, value in zip(labels, first, strict=True) if not np.isnan(value)}
    return {"map50": mean_precision(first), "map": mean_precision(found), **each}


def mean_precision(precisions: Array) -> float:
    """The mean of what is not NaN; 0 where nothing is."""
    known = precisions[~np.isnan(precisions)]
    return float(known.mean()) if known.size else 0.0


def _matched(boxes: Array, objects: Array, ignored: Array, limits: Array) -> tuple[Array, Array]:
    """Which of `boxes`, the surest first, are right and wrong at each limit. Of `objects` the ignored come last."""
    right, wrong = np.zeros((len(limits), len(boxes)), bool), np.ones((len(limits), len(boxes)), bool)
    if not len(objects):
        return right, wrong
    overlap = _overlaps(boxes.astype(np.float64), objects.astype(np.float64), ignored)
    count = int(np.sum(~ignored))
    free = np.ones((len(limits), count), bool)
    rows = np.arange(len(limits))
    for i in np.flatnonzero(overlap.max(axis=1, initial=0) >= limits.min()):
        near = overlap[i] >= limits[:, None]
        wrong[:, i] = ~near[:, count:].any(axis=1)
        if not (open_ones := near[:, :count] & free).any():
            continue
        # of equal overlaps the last one, as COCO has it
        best = count - 1 - np.where(open_ones, overlap[i, :count], -1.0)[:, ::-1].argmax(axis=1)
        right[:, i] = open_ones[rows, best]
        wrong[:, i] &= ~right[:, i]
        free[rows, best] &= ~right[:, i]
    return right, wrong


def _overlaps(boxes: Array, objects: Array, ignored: Array) -> Array:
    """Of each pair; with an ignored object the share of the box that lies inside it."""
    overlap = overlaps(boxes, objects)
    if not ignored.any():
        return overlap
    inside, size = intersections(boxes, objects[ignored]), areas(boxes)[:, None]
    overlap[:, ignored] = np.divide(inside, size, out=np.zeros_like(inside), where=size > 0)
    return overlap


def _ranked(parts: Sequence[tuple[int, Array, Array, Array]], objects: Array, limits: int) -> Ranked:
    scores = np.concatenate([scores for _, scores, _, _ in parts]) if parts else np.zeros(0)
    order = np.argsort(-scores, kind="stable")
    photos = [np.full(len(scores), photo) for photo, scores, _, _ in parts]
    nothing = [np.zeros((limits, 0), bool)]
    return Ranked(
        photos=np.concatenate(photos)[order] if photos else np.zeros(0, int),
        right=np.concatenate([right for _, _, right, _ in parts] or nothing, axis=1)[:, order],
        wrong=np.concatenate([wrong for _, _, _, wrong in parts] or nothing, axis=1)[:, order],
        objects=objects,
    )


def _precisions(ranked: Ranked, row: int, weights: Array, total: Array) -> Array:
    """For each column of `weights` (photos, draws), with a weight `total` (draws,) of objects."""
    right, counts = ranked.right[row], ranked.right[row] | ranked.wrong[row]
    # what comes after the last right detection changes nothing
    used = np.flatnonzero(counts[: np.flatnonzero(right)[-1] + 1]) if right.any() else np.zeros(0, int)
    found = np.zeros(weights.shape[1])
    step = max(1, _CELLS // max(1, len(used)))
    for start in range(0, len(found), step) if len(used) else ():
        part = slice(start, start + step)
        found[part] = _area(weights[ranked.photos[used], part], right[used], total[part])
    return np.where(total > 0, found, np.nan)


def _area(weights: Array, right: Array, total: Array) -> Array:
    """The mean over the recall levels of the best precision from there on, for each column of `weights`."""
    seen = np.cumsum(weights, axis=0)[right]
    hits = np.cumsum(weights[right], axis=0)
    precision = hits / (seen + np.spacing(1))
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    recall = hits / np.maximum(total, np.spacing(1))
    reached = np.searchsorted(LEVELS, recall, side="right")
    return np.asarray(np.sum(best * np.diff(reached, axis=0, prepend=0), axis=0) / len(LEVELS))
