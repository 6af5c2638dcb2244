"""Metrics of detectors: mean average precision at an overlap of 0.5, and over ten of them (COCO's)."""

from functools import partial

import numpy as np

from edgetl.devices.answers import Answers
from edgetl.devices.detection.drop import Pair, paired, photos_to_decide, resample_precision
from edgetl.devices.detection.labels import label_bound, label_reasons, label_reports
from edgetl.devices.drop import Drop, Evidence, pass_share
from edgetl.devices.measures.measure import Measure
from edgetl.devices.profile import Accuracy
from edgetl.devices.statistics import error_budget
from edgetl.manifest import TaskResult
from edgetl.tasks.average_precision import THRESHOLDS, Matches
from edgetl.types import Array


def _labels(answers: Answers) -> int:
    """How many occur; what occurs nowhere has no precision."""
    sides = (*answers.truths, *answers.reference, *answers.variant)
    return 1 + max((int(each.classes.max(initial=-1)) for each in sides), default=-1)


def _pair(answers: Answers, thresholds: tuple[float, ...]) -> Pair:
    return paired(answers, _labels(answers), thresholds)


def _drop(thresholds: tuple[float, ...], evidence: Evidence, accuracy: Accuracy) -> Drop:
    """Of photos without any object, the drop of nothing."""
    alpha, budget = error_budget(accuracy.confidence), accuracy.max_drop_points / 100
    answers = evidence.answers
    drawn = resample_precision(_pair(answers, thresholds), alpha) if len(answers) else None
    if drawn is None:
        return Drop(reference=0.0, value=0.0, low=-1.0, high=1.0, p_above=1.0, p_within=1.0)
    low, high = drawn.bounds(alpha)
    return Drop(
        reference=drawn.reference, value=drawn.value, low=low, high=high,
        p_above=drawn.p_above(budget), p_within=drawn.p_within(budget),
    )  # fmt: skip


def _enough(thresholds: tuple[float, ...], evidence: Evidence, accuracy: Accuracy, drop: Drop) -> int | None:
    alpha, answers = error_budget(accuracy.confidence), evidence.answers
    drawn = resample_precision(_pair(answers, thresholds), alpha) if len(answers) else None
    if drawn is None:
        return None
    return photos_to_decide(
        drawn, len(answers), accuracy.max_drop_points / 100, alpha, pass_share(evidence, alpha)
    )  # fmt: skip


def _conceivable(result: TaskResult, max_drop: float) -> bool:
    """On what was observed: that all of one photo is lost by chance is nothing strange."""
    return result.reference - result.value <= max_drop / 100 + 1 / max(1, result.samples)


def _result(thresholds: tuple[float, ...], name: str, answers: Answers) -> TaskResult:
    """`lost`: photos in which the variant finds fewer objects than torch does, at the first overlap; `gained`: more."""
    pair = _pair(answers, thresholds)
    reference, value = pair.values
    change = _found(pair.variant) - _found(pair.reference)
    return TaskResult(
        metric=name, samples=len(answers), reference=reference, value=value,
        lost=int(np.sum(change < 0)), gained=int(np.sum(change > 0)),
    )  # fmt: skip


def _found(matches: Matches) -> Array:
    """How many objects of each photo."""
    found = np.zeros(matches.photos, np.int64)
    for each in matches.labels:
        found += np.bincount(each.photos[each.right[0]], minlength=matches.photos)
    return found


def _measure(name: str, thresholds: tuple[float, ...]) -> Measure:
    return Measure(
        drop=partial(_drop, thresholds),
        enough=partial(_enough, thresholds),
        fewest=lambda evidence, accuracy: 0,
        result=partial(_result, thresholds, name),
        right=None,
        conceivable=_conceivable,
        class_reasons=label_reasons,
        class_bound=label_bound,
        class_reports=label_reports,
    )


MAP50 = _measure("map50", THRESHOLDS[:1])

MAP = _measure("map", THRESHOLDS)
