"""Metrics of answers that are right or wrong: top-1 accuracy, and macro-F1."""

import numpy as np

from edgetl.devices.drop import Drop, Evidence, by_width, pass_share
from edgetl.devices.layers.classes import class_bound, class_reasons, class_reports
from edgetl.devices.measures.measure import Measure
from edgetl.devices.profile import Accuracy
from edgetl.devices.resampling import draws_for, resample_macro_f1
from edgetl.devices.sequential import samples_to_stop, sequential_bounds, stream_p_above, stream_p_within
from edgetl.devices.statistics import drop_bounds, error_budget, fewest_samples, p_above, p_within, samples_to_decide
from edgetl.manifest import TaskResult

STRANGE = 0.2
"""Among 64 samples one lost answer is nothing strange for a drop of one point (0.477), two are, just (0.199)."""


def top1_drop(evidence: Evidence, accuracy: Accuracy) -> Drop:
    """The share of right answers; exact where counts are small, valid at any moment of a stream."""
    budget, alpha = accuracy.max_drop_points / 100, error_budget(accuracy.confidence)
    result = evidence.answers.result()
    counts = result.lost, result.gained, result.samples
    if evidence.sequential:
        low, high = sequential_bounds(*counts, alpha)
        above, within = stream_p_above(*counts, budget), stream_p_within(*counts, budget)
    else:
        low, high = drop_bounds(*counts, alpha)
        above, within = p_above(*counts, budget, alpha), p_within(*counts, budget, alpha)
    return Drop(
        reference=result.reference, value=result.value, low=low, high=high, p_above=above, p_within=within
    )  # fmt: skip


def macro_f1_drop(evidence: Evidence, accuracy: Accuracy) -> Drop:
    """The mean F1 of the classes, by the bootstrap; of no answers, the drop of nothing."""
    if not len(evidence.answers):
        return top1_drop(evidence, accuracy)
    alpha = error_budget(accuracy.confidence)
    drawn = resample_macro_f1(evidence.answers, draws_for(alpha))
    low, high = drawn.bounds(alpha)
    budget = accuracy.max_drop_points / 100
    return Drop(
        reference=drawn.reference, value=drawn.value, low=low, high=high,
        p_above=drawn.p_above(budget), p_within=drawn.p_within(budget),
    )  # fmt: skip


def _enough(evidence: Evidence, accuracy: Accuracy, drop: Drop) -> int | None:
    """At the rate at which answers changed so far."""
    budget, alpha = accuracy.max_drop_points / 100, error_budget(accuracy.confidence)
    result = evidence.answers.result()
    method = samples_to_stop if evidence.sequential else samples_to_decide
    within = drop.reference - drop.value < budget
    share = pass_share(evidence, alpha) if within else alpha
    return method(result.lost, result.gained, len(evidence.answers), budget, share)


def _fewest(evidence: Evidence, accuracy: Accuracy) -> int:
    share = pass_share(evidence, error_budget(accuracy.confidence))
    return fewest_samples(accuracy.max_drop_points / 100, share)


def _conceivable(result: TaskResult, max_drop: float) -> bool:
    chance = p_above(result.lost, result.gained, result.samples, max_drop / 100, STRANGE)
    return chance > STRANGE


TOP1 = Measure(
    drop=top1_drop,
    enough=_enough,
    fewest=_fewest,
    result=lambda answers: answers.result(),
    right=lambda answers: np.asarray(answers.variant == answers.truths),
    conceivable=_conceivable,
    class_reasons=class_reasons,
    class_bound=class_bound,
    class_reports=class_reports,
)

MACRO_F1 = Measure(
    drop=macro_f1_drop,
    enough=lambda evidence, accuracy, drop: by_width(evidence, accuracy.max_drop_points / 100, drop),
    fewest=lambda evidence, accuracy: 0,
    result=lambda answers: answers.result(),
    right=lambda answers: np.asarray(answers.variant == answers.truths),
    conceivable=_conceivable,
    class_reasons=class_reasons,
    class_bound=class_bound,
    class_reports=class_reports,
)
