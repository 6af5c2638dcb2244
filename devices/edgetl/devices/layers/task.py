"""Task layer: how much of the metric was lost, on the same samples."""

import math

import msgspec

from edgetl.devices.answers import Answers
from edgetl.devices.layers.classes import class_bound, class_reasons
from edgetl.devices.profile import Accuracy
from edgetl.devices.resampling import draws_for, resample_macro_f1
from edgetl.devices.sequential import samples_to_stop, sequential_bounds, stream_p_above, stream_p_within
from edgetl.devices.statistics import (
    ALPHA,
    drop_bounds,
    error_budget,
    fewest_samples,
    p_above,
    p_within,
    percent,
    samples_to_decide,
    upper_rate,
)
from edgetl.devices.verdict import Interval, Metric, Reason
from edgetl.types import Verdict


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the task layer judges. `note` says where the answers come from when that is not the export.

    `unlabelled`: (answers that differ from the reference's, images). `sequential`: the samples were a stream
    that was looked at all along. `looks`: so many candidates were judged on these samples before this one was chosen.
    """

    answers: Answers
    note: str = ""
    unlabelled: tuple[int, int] | None = None
    sequential: bool = False
    looks: int = 1


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """A drop as fractions, with bounds and the p-values of "at most" and "at least" the budget."""

    reference: float
    value: float
    low: float
    high: float
    p_above: float
    p_within: float


def task_layer(
    evidence: Evidence, accuracy: Accuracy, labels: tuple[str, ...], *, exempt: bool
) -> tuple[Metric | None, Interval | None, list[Reason]]:
    """The paired drop against its bound, and what happened to each class, all at the profile's confidence.

    `exempt`: an fp32 variant that passed numerics, which need not prove its accuracy.
    """
    answers = evidence.answers
    if not len(answers) and not evidence.unlabelled and not exempt:
        return None, None, [Reason(layer="task", verdict="undecided", text=f"{evidence.note}no sample has a label")]
    alpha = error_budget(accuracy.confidence)
    drop = measure(evidence, accuracy)
    interval = Interval(value=100 * (drop.reference - drop.value), low=100 * drop.low, high=100 * drop.high)
    metric = Metric(name=accuracy.metric, reference=drop.reference, value=drop.value) if len(answers) else None
    reasons = [_decide(evidence, drop, interval, accuracy, exempt=exempt), *class_reasons(answers, labels, alpha)]
    if (most := accuracy.max_class_drop_points) is not None and not exempt and len(answers):
        share, sequential = alpha / evidence.looks, evidence.sequential
        reasons.append(class_bound(answers, most, labels, alpha, share=share, sequential=sequential))
    return metric, interval, reasons


def measure(evidence: Evidence, accuracy: Accuracy) -> Drop:
    """The drop of the profile's metric, by the method that fits the evidence."""
    answers, budget, alpha = evidence.answers, accuracy.max_drop_points / 100, error_budget(accuracy.confidence)
    if accuracy.metric == "macro_f1" and len(answers):
        drawn = resample_macro_f1(answers, draws_for(alpha))
        low, high = drawn.bounds(alpha)
        above, within = drawn.p_above(budget), drawn.p_within(budget)
        return Drop(
            reference=drawn.reference, value=drawn.value, low=low, high=high, p_above=above, p_within=within
        )  # fmt: skip
    result = answers.result()
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


def verdict_of(drop: Drop, alpha: float = ALPHA, share: float | None = None) -> Verdict:
    """Pass when the drop is surely within the budget, fail when it is surely above, else undecided.

    `share`: what a pass has of the error budget `alpha`, when not all of it.
    """
    if drop.p_within <= (alpha if share is None else share):
        return "pass"
    return "fail" if drop.p_above <= alpha else "undecided"


def _decide(evidence: Evidence, drop: Drop, interval: Interval, accuracy: Accuracy, *, exempt: bool) -> Reason:
    budget, samples, alpha = accuracy.max_drop_points, len(evidence.answers), error_budget(accuracy.confidence)
    text = (
        f"{evidence.note}drop {interval.value:+.2f} points, between {interval.low:.2f} and {interval.high:.2f} "
        f"({percent(alpha)}, {samples} samples), allowed {budget:g}"
    )
    if evidence.looks > 1:
        text += f"; the {evidence.looks} candidates tried on these samples share the {percent(1 - alpha)}"
    unlabelled, note = _unlabelled(evidence, alpha)
    verdict = "pass" if exempt else verdict_of(drop, alpha, pass_share(evidence, alpha))
    if verdict == "undecided" and unlabelled <= budget:
        verdict = "pass"
    if verdict == "undecided":
        text += _how_many(evidence, accuracy, drop)
    return Reason(layer="task", verdict=verdict, text=text + note, p_value=None if exempt else drop.p_above)


def pass_share(evidence: Evidence, alpha: float = ALPHA) -> float:
    """What labels have of the error budget `alpha` for a pass: half, when unlabelled images may give one too.

    Each candidate that was judged on the same samples could have passed by chance, so they share it.
    """
    labelled = alpha / 2 if evidence.unlabelled is not None and len(evidence.answers) else alpha
    return labelled / evidence.looks


def _unlabelled(evidence: Evidence, alpha: float) -> tuple[float, str]:
    """The most points that answers which differ without a label can hide, and what to say about them.

    No more answers are lost than differ. Where labels decide too, each way gets half the error budget.
    """
    if evidence.unlabelled is None:
        return math.inf, ""
    changed, images = evidence.unlabelled
    bound = 100 * upper_rate(changed, images, alpha / 2 if len(evidence.answers) else alpha) if images else 100.0
    return bound, f"; {changed} of {images} unlabelled answers differ, which hides at most {bound:.2f} points"


def _how_many(evidence: Evidence, accuracy: Accuracy, drop: Drop) -> str:
    """How many more samples would decide at the observed rate of change."""
    samples, budget, alpha = len(evidence.answers), accuracy.max_drop_points / 100, error_budget(accuracy.confidence)
    share = pass_share(evidence, alpha)
    if accuracy.metric == "macro_f1":
        margin = abs(budget - (drop.reference - drop.value))
        width = drop.high - (drop.reference - drop.value)
        needed = math.ceil(samples * (width / margin) ** 2) if margin > 0 else None
    else:
        result = evidence.answers.result()
        method = samples_to_stop if evidence.sequential else samples_to_decide
        within = drop.reference - drop.value < budget
        needed = method(result.lost, result.gained, samples, budget, share if within else alpha)
    if needed is None:
        return "; the drop stands on the bound, no number of samples would decide"
    least = fewest_samples(budget, share) if accuracy.metric == "top1" else 0
    never = f" (fewer than {least} can never prove {accuracy.max_drop_points:g})" if samples < least else ""
    return f"; about {max(1, needed - samples)} more samples would decide{never}"
