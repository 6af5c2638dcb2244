"""How far two sets of boxes and scores are apart: as objects that both found, and row by row.

Rows are compared one by one where row i is the same place for every engine, else the objects that fit one another.
"""

import msgspec
import numpy as np

from edgetl.devices.numerics import BEYOND, Distance, sqnr_db
from edgetl.tasks import ObjectDetection
from edgetl.tasks.detections import LEAST_SCORE, Found, areas, overlaps, own_overlaps
from edgetl.types import Array, Outputs

MATTERS = 0.05
"""A row counts whose best score, of either side, is so much; the thousands of others say only what is not there."""

SAME = 0.5
"""Boxes of one label are the same object when they overlap by so much."""

_ROUND = 1e-6
"""Probabilities nearer to 0 or 1 are taken to be so near."""


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared: `scores` and `expected` (rows, labels), `boxes` and `expected_boxes` (pairs, 4) in pixels, and
    how much each pair `weighs` (pairs,): the reference's best score.
    """

    scores: Array
    expected: Array
    boxes: Array
    expected_boxes: Array
    weighs: Array


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """`matched`: of the objects that either side found, the share that the other found too, averaged over photos.
    `matched_iou`: the mean overlap of those. Score differences are of the same pairs; all these are 0–1.

    `box_sqnr_db`: a box's side against its error, weighted by score. `label_sqnr_db`: of the worst label's scores
    against the mean label's power. `divergence`: of the scores as probabilities, nats a row. `most`: the largest
    difference of any score, or of any coordinate as a share of its box's side.
    """

    photos: int
    matched: float
    matched_iou: float
    mean_score_difference: float
    max_score_difference: float
    score_sqnr_db: float
    box_sqnr_db: float
    label_sqnr_db: float
    worst_label: int
    divergence: float
    most: float

    @property
    def sqnr_db(self) -> float:
        """Of scores or boxes, whichever is worse."""
        return min(self.score_sqnr_db, self.box_sqnr_db)

    def distance(self) -> Distance:
        """In the measures that tolerances are written in."""
        return Distance(
            samples=self.photos,
            sqnr_db=self.sqnr_db,
            max_abs_dlogit=self.most,
            agreement=self.matched,
            kl=self.divergence,
            column_sqnr_db=self.label_sqnr_db,
            worst_label=self.worst_label,
        )


def agree(outputs: Outputs, reference: Outputs, task: ObjectDetection) -> Agreement:
    """Of `boxes` (photos, rows, 4) and `scores` (photos, rows, labels) with those of `reference`."""
    near = [
        matched_objects(*each, task.score_threshold)
        for each in _photos(outputs, reference, task, task.score_threshold / 2)
    ]
    iou = np.concatenate([each.iou for each in near] or [np.zeros(0)])
    differences = np.concatenate([each.differences for each in near] or [np.zeros(0)])
    rows = _same_rows(outputs, reference) if task.ordered else _same_objects(outputs, reference, task)
    errors = _finite(rows.scores - rows.expected)
    columns = np.sum(errors**2, axis=0)
    worst = int(columns.argmax())
    off = _relative(rows.boxes, rows.expected_boxes)
    return Agreement(
        photos=len(near),
        matched=float(np.mean([each.share for each in near])) if near else 1.0,
        matched_iou=float(iou.mean()) if len(iou) else 0.0,
        mean_score_difference=float(differences.mean()) if len(differences) else 0.0,
        max_score_difference=float(differences.max(initial=0)),
        score_sqnr_db=sqnr_db(rows.scores, rows.expected),
        box_sqnr_db=_box_sqnr_db(off, rows.weighs),
        label_sqnr_db=_label_sqnr_db(rows.expected, columns[worst]),
        worst_label=worst,
        divergence=_divergence(rows.expected, rows.scores),
        most=float(max(np.abs(errors).max(initial=0), off.max(initial=0))),
    )


class Near(msgspec.Struct, frozen=True, kw_only=True):
    """The objects of one photo that both sides found: overlap and score difference of each pair (pairs,), and the
    `share` they are of all that either side is sure of; 1 where neither is of any.
    """

    iou: Array
    differences: Array
    share: float


def matched_objects(mine: Found, theirs: Found, threshold: float) -> Near:
    """Sure is what scores `threshold`. Half of it is enough to be the other side's, else noise in a score on the
    threshold would count as an object lost.
    """
    one, other = pairs(mine, theirs)
    enough = np.minimum(mine.scores[one], theirs.scores[other]) >= threshold / 2
    enough &= np.maximum(mine.scores[one], theirs.scores[other]) >= threshold
    one, other = one[enough], other[enough]
    sure = int(np.sum(mine.scores >= threshold) + np.sum(theirs.scores >= threshold))
    met = int(np.sum(mine.scores[one] >= threshold) + np.sum(theirs.scores[other] >= threshold))
    overlap = own_overlaps(mine.boxes[one], theirs.boxes[other])
    differences = np.abs(mine.scores[one] - theirs.scores[other])
    return Near(iou=overlap, differences=differences, share=met / sure if sure else 1.0)


def pairs(mine: Found, theirs: Found) -> tuple[Array, Array]:
    """The objects that are the same, as indices into each side, each once: the pair that fits best first.

    What fits is the overlap, less the difference of the scores: of two boxes on one object the surer is the surer's.
    """
    overlap = np.where(mine.classes[:, None] == theirs.classes[None], overlaps(mine.boxes, theirs.boxes), 0.0)
    rows, columns = np.nonzero(overlap >= SAME)
    free_rows, free_columns = np.ones(len(mine.scores), bool), np.ones(len(theirs.scores), bool)
    chosen = []
    fit = overlap[rows, columns] - np.abs(mine.scores[rows] - theirs.scores[columns])
    for i in np.argsort(-fit, kind="stable"):
        if free_rows[rows[i]] and free_columns[columns[i]]:
            free_rows[rows[i]] = free_columns[columns[i]] = False
            chosen.append(i)
    return rows[chosen], columns[chosen]


def _photos(outputs: Outputs, reference: Outputs, task: ObjectDetection, least: float) -> list[tuple[Found, Found]]:
    """What both sides found in each photo, with scores from `least` on."""
    mine, theirs = (task.found(finite(each), threshold=least) for each in (outputs, reference))
    return list(zip(mine, theirs, strict=True))


def finite(outputs: Outputs) -> Outputs:
    """With coordinates that can be computed with; a score that is no number finds nothing."""
    boxes = np.clip(np.nan_to_num(outputs["boxes"].astype(np.float64)), -1e6, 1e6)
    return {"boxes": boxes, "scores": np.clip(np.nan_to_num(outputs["scores"].astype(np.float64)), -1e6, 1e6)}


def _same_rows(outputs: Outputs, reference: Outputs) -> Rows:
    scores, expected = outputs["scores"].astype(np.float64), reference["scores"].astype(np.float64)
    best = expected.max(axis=2)
    matter = (best >= MATTERS) | ~(scores.max(axis=2) < MATTERS)
    return Rows(
        scores=scores[matter],
        expected=expected[matter],
        boxes=outputs["boxes"][matter].astype(np.float64),
        expected_boxes=reference["boxes"][matter].astype(np.float64),
        weighs=best[matter],
    )


def _same_objects(outputs: Outputs, reference: Outputs, task: ObjectDetection) -> Rows:
    """Objects that match, and those without a match against the least score that is one."""
    labels, parts = len(task.labels), []
    for mine, theirs in _photos(outputs, reference, task, LEAST_SCORE):
        one, other = pairs(mine, theirs)
        alone = [np.setdiff1d(np.arange(len(side.scores)), at) for side, at in ((mine, one), (theirs, other))]
        least = [np.full(len(each), LEAST_SCORE) for each in alone]
        classes = np.concatenate([mine.classes[one], mine.classes[alone[0]], theirs.classes[alone[1]]])
        scores = np.concatenate([mine.scores[one], mine.scores[alone[0]], least[1]])
        expected = np.concatenate([theirs.scores[other], least[0], theirs.scores[alone[1]]])
        matter = np.maximum(scores, expected) >= MATTERS
        column = np.eye(labels)[classes[matter]]
        parts.append((scores[matter, None] * column, expected[matter, None] * column,
                      mine.boxes[one], theirs.boxes[other], theirs.scores[other]))  # fmt: skip
    nothing = tuple(np.zeros(shape) for shape in ((0, labels), (0, labels), (0, 4), (0, 4), (0,)))
    scores, expected, boxes, there, weighs = (np.concatenate(each) for each in zip(nothing, *parts, strict=True))
    lost = np.isnan(outputs["scores"]).any() or np.isnan(outputs["boxes"]).any()
    return Rows(
        scores=np.full_like(scores, np.nan) if lost else scores, expected=expected, boxes=boxes, expected_boxes=there,
        weighs=weighs,
    )  # fmt: skip


def _finite(errors: Array) -> Array:
    return np.nan_to_num(errors, nan=BEYOND, posinf=BEYOND, neginf=-BEYOND)


def _label_sqnr_db(expected: Array, error: float) -> float:
    """Of one label's summed squared error, against the mean label's power."""
    signal = np.sqrt(np.mean(np.sum(expected**2, axis=0, keepdims=True)))
    return sqnr_db(np.array([signal + np.sqrt(error)]), np.array([signal]))


def _relative(boxes: Array, expected: Array) -> Array:
    """The largest error of each box's coordinates, as a share of the side of a square of its size; (pairs,)."""
    side = np.sqrt(np.maximum(areas(expected), 1.0))
    return np.asarray(np.abs(_finite(boxes - expected)).max(axis=1, initial=0) / side)


def _box_sqnr_db(off: Array, weighs: Array) -> float:
    """Of relative errors, weighted."""
    root = np.sqrt(weighs)
    return sqnr_db(root + root * np.minimum(off, BEYOND), root)


def _divergence(expected: Array, scores: Array) -> float:
    """Kullback and Leibler's, of each score as the probability of a label, summed over labels; mean of the rows."""
    if not np.isfinite(scores).all():
        return BEYOND
    p, q = (np.clip(each, _ROUND, 1 - _ROUND) for each in (expected, scores))
    each = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return float(each.sum(axis=1).mean()) if len(each) else 0.0
