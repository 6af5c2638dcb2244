"""Names the fault when a detector's boxes or scores fit it significantly better than they fit the right answers."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from edgetl.devices.detection.agreement import finite, pairs
from edgetl.devices.detection.faults import SCORE_FAULTS, box_faults
from edgetl.devices.detection.places import bar_faults, moved
from edgetl.devices.detection.rows import EVERY, Compared, compared
from edgetl.devices.hypotheses import MAX_P, MIN_GAIN_DB, cycles, sign_test
from edgetl.tasks import ObjectDetection
from edgetl.tasks.detections import LEAST_SCORE, Found, overlaps, own_overlaps
from edgetl.types import Array, Outputs

UNDER = " under "
"""Arrays of golden/samples.npz: `boxes under …` and `scores under …`, torch's answers to the first photos."""

REPEATED = 0.7
"""Two boxes of a label that overlap by so much are one object found twice."""

MORE_DB = 3.0
"""What a hypothesis must fit better than a simpler one."""

Named = tuple[float, str]
"""By how many decibels a hypothesis fits better, and what is said of it."""


def cause_of(outputs: Outputs, arrays: Mapping[str, Array], task: ObjectDetection) -> str | None:
    """The fault that explains `outputs` significantly better than none, or None.

    `arrays`: the golden set with torch's `boxes` and `scores`, the `image`s, and torch's answers under faults of the
    input. Answers that are not all finite have no such explanation.
    """
    if not all(np.isfinite(outputs[name]).all() for name in ("boxes", "scores")):
        return None
    if recorded := max(_recorded(outputs, arrays, task), default=None):
        return recorded[1]
    rows = compared(outputs, _of(arrays), (task.input.width, task.input.height), ordered=task.ordered)
    if not len(rows.photo):
        return None
    box, boxes = _box_cause(rows, arrays, task)
    parts = [box, _score_cause(rows, boxes, task.labels), _repeated(outputs, arrays, task)]
    return " and ".join(part for part in parts if part) or None


def gain_db(error: Array, other: Array, explained: float) -> float | None:
    """By how many decibels errors `other` (photos,) are smaller than `error`; None unless significant.

    The answers must also be as many times as large as what is left of them, `explained`: answers near zero are close
    to anything small. Photos that cannot tell the two apart say nothing.
    """
    telling = error != other
    error, other = error[telling], other[telling]
    if not error.sum() > 0:
        return None
    gain = 10 * math.log10(float(error.sum()) / max(float(other.sum()), 1e-30))
    enough = gain >= MIN_GAIN_DB and 10 * math.log10(max(explained, 1e-30)) >= MIN_GAIN_DB
    return gain if enough and sign_test(int(np.sum(other < error)), len(error)) < MAX_P else None


def _of(arrays: Mapping[str, Array]) -> Outputs:
    return {name: arrays[name] for name in ("boxes", "scores")}


def _recorded(outputs: Outputs, arrays: Mapping[str, Array], task: ObjectDetection) -> Iterator[Named]:
    """Faults of the input, of which torch's answers to some photos were recorded."""
    size = (task.input.width, task.input.height)
    for name in arrays:
        part, under, fault = name.partition(UNDER)
        if part != "scores" or not under or f"boxes{UNDER}{fault}" not in arrays:
            continue
        expected = {"boxes": arrays[f"boxes{UNDER}{fault}"], "scores": arrays[name]}
        count = len(expected["scores"])
        mine, right = ({at: each[at][:count] for at in expected} for each in (outputs, _of(arrays)))
        gain = _row_gain(mine, right, expected, size) if task.ordered else _object_gain(mine, right, expected, task)
        if gain is not None:
            yield gain, fault


def _row_gain(mine: Outputs, right: Outputs, expected: Outputs, size: tuple[int, int]) -> float | None:
    """Over the rows that matter to either."""
    either = {"boxes": right["boxes"], "scores": np.maximum(right["scores"], expected["scores"])}
    rows = compared(mine, either, size, ordered=True)
    at = rows.photo, rows.place
    error, other = (rows.errors(each["boxes"][at], each["scores"][at], None) for each in (right, expected))
    # what finds nothing is near to any fault that leaves nothing to find
    return gain_db(error, other, rows.explained(expected["boxes"][at], expected["scores"][at], "scores"))


def _object_gain(mine: Outputs, right: Outputs, expected: Outputs, task: ObjectDetection) -> float | None:
    """Over the objects, in photos where the fault leaves any."""
    there, without, under = (task.found(finite(each), threshold=LEAST_SCORE) for each in (mine, right, expected))
    some = [i for i, each in enumerate(under) if np.any(each.scores >= task.score_threshold)]
    error, other = (np.array([misfit(there[i], side[i]) for i in some]) for side in (without, under))
    power = sum(float(np.sum(there[i].scores ** 2)) for i in some)
    return gain_db(error, other, power / max(float(other.sum()), 1e-30))


def misfit(mine: Found, theirs: Found) -> float:
    """What two sides say differently of a photo: of pairs how much boxes do not overlap and scores differ, of the
    others the whole score; all squared.
    """
    one, other = pairs(mine, theirs)
    apart = 1 - own_overlaps(mine.boxes[one], theirs.boxes[other])
    differences = mine.scores[one] - theirs.scores[other]
    alone = np.concatenate([np.delete(mine.scores, one), np.delete(theirs.scores, other)])
    return float(np.sum(apart**2) + np.sum(differences**2) + np.sum(alone**2))


def _box_cause(rows: Compared, arrays: Mapping[str, Array], task: ObjectDetection) -> tuple[str | None, Array]:
    """How boxes are written or placed wrongly, and what the rows' boxes are under that fault."""
    candidates = {name: fault(rows.boxes, rows.size) for name, fault in box_faults().items()}
    candidates |= bar_faults(rows, arrays["image"], task.input)
    if found := _box_gains(rows, candidates):
        name = max(found)[1]
        return name, candidates[name]
    candidates = dict(moved(rows))
    found = _box_gains(rows, candidates)
    # a scale has more freedom than a move alone, and must fit better by more than that
    best = [name for gain, name in found if gain >= max(found)[0] - MORE_DB]
    return (best[0], candidates[best[0]]) if best else (None, rows.boxes)


def _box_gains(rows: Compared, candidates: Mapping[str, Array]) -> list[Named]:
    right, found = rows.errors(rows.boxes, rows.scores, "boxes"), []
    for name, boxes in candidates.items():
        error, explained = rows.errors(boxes, rows.scores, "boxes"), rows.explained(boxes, rows.scores, "boxes")
        if (gain := gain_db(right, error, explained)) is not None:
            found.append((gain, name))
    return found


def _score_cause(rows: Compared, boxes: Array, labels: tuple[str, ...]) -> str | None:
    """How scores are computed or ordered wrongly, in rows whose boxes should be `boxes`."""
    found = [
        (gain, name)
        for name, fault in SCORE_FAULTS.items()
        if (gain := _score_gain(rows, boxes, fault(rows.scores), EVERY)) is not None
    ]
    return max(found or [*_shifted(rows, boxes, labels), *_exchanged(rows, boxes, labels)], default=(0, None))[1]


def _score_gain(rows: Compared, boxes: Array, expected: Array, columns: slice | list[int]) -> float | None:
    """Of `expected` scores over the right ones, as far as `columns` say."""
    error, other = (rows.errors(boxes, scores, "scores", columns) for scores in (rows.scores, expected))
    return gain_db(error, other, rows.explained(boxes, expected, "scores", columns))


def _shifted(rows: Compared, boxes: Array, labels: tuple[str, ...]) -> Iterator[Named]:
    """Each label's scores in the next column, or in the one before; the column that is left says nothing."""
    if len(labels) < 3:
        return
    for name, step, here in (("up", 1, slice(1, None)), ("down", -1, slice(None, -1))):
        expected = np.roll(rows.scores, step, axis=1)
        # a shift that goes round is an exchange too; as a shift it is said in fewer words
        if (gain := _score_gain(rows, boxes, expected, here)) is not None:
            a, b = (labels[0], labels[1]) if name == "up" else (labels[1], labels[0])
            yield gain + MORE_DB, f"labels are shifted {name} by one: what is `{a}` is called `{b}`"


def _exchanged(rows: Compared, boxes: Array, labels: tuple[str, ...]) -> Iterator[Named]:
    """Columns that fit another label's column: found as cycles of the nearest-column map."""
    root = np.sqrt(rows.weighs)[:, None]
    mine, right = root * rows.said_of_any_label(boxes), root * rows.scores
    distance = np.sum(mine**2, axis=0)[:, None] + np.sum(right**2, axis=0)[None] - 2 * mine.T @ right
    order = cycles(distance.argmin(axis=1))
    here, expected = list(order), rows.scores.copy()
    expected[:, here] = rows.scores[:, list(order.values())]
    if order and (gain := _score_gain(rows, boxes, expected, here)) is not None:
        pairs = [f"`{labels[a]}` carries `{labels[b]}`" for a, b in list(order.items())[:4]]
        yield gain, "labels exchanged: " + ", ".join(pairs) + (", …" if len(order) > 4 else "")


def _repeated(outputs: Outputs, arrays: Mapping[str, Array], task: ObjectDetection) -> str | None:
    """Objects that are found several times, by a model that should not."""
    mine, right = (
        np.array([repetitions(each) for each in task.found(finite(side), threshold=task.score_threshold)])
        for side in (outputs, _of(arrays))
    )
    more = int(np.sum(mine > right))
    if mine.sum() < 2 * max(right.sum(), len(mine)) or sign_test(more, int(np.sum(mine != right))) >= MAX_P:
        return None
    return "objects are found several times: repeated boxes are not suppressed"


def repetitions(found: Found) -> int:
    """How many boxes repeat a surer one of the same label."""
    same = (found.classes[:, None] == found.classes[None]) & (overlaps(found.boxes, found.boxes) >= REPEATED)
    return int(np.triu(same, k=1).any(axis=0).sum())
