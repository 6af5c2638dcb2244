"""Task layer: how much of the metric was lost, on the same samples, and which classes lost it."""

import math

import msgspec

from edgetl.devices.answers import Answers
from edgetl.devices.damage import Damage, damaged, parts, silent_classes
from edgetl.devices.multiplicity import holm
from edgetl.devices.profile import Accuracy
from edgetl.devices.resampling import resample_macro_f1
from edgetl.devices.sequential import e_above, e_within, samples_to_stop, sequential_bounds
from edgetl.devices.statistics import (
    ALPHA,
    drop_bounds,
    fewest_samples,
    p_above,
    p_within,
    samples_to_decide,
    upper_rate,
)
from edgetl.devices.verdict import Interval, Metric, Reason
from edgetl.types import Array, Verdict


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
    """The paired drop against its bound, and what happened to each class.

    `exempt`: an fp32 variant that passed numerics, which need not prove its accuracy.
    """
    answers = evidence.answers
    if not len(answers) and not evidence.unlabelled and not exempt:
        return None, None, [Reason(layer="task", verdict="undecided", text=f"{evidence.note}no sample has a label")]
    drop = measure(evidence, accuracy)
    interval = Interval(value=100 * (drop.reference - drop.value), low=100 * drop.low, high=100 * drop.high)
    metric = Metric(name=accuracy.metric, reference=drop.reference, value=drop.value) if len(answers) else None
    reasons = [_decide(evidence, drop, interval, accuracy, exempt=exempt), *class_reasons(answers, labels)]
    if accuracy.max_class_drop_points is not None and not exempt and len(answers):
        reasons.append(_class_bound(evidence, accuracy.max_class_drop_points, labels))
    return metric, interval, reasons


def measure(evidence: Evidence, accuracy: Accuracy) -> Drop:
    """The drop of the profile's metric, by the method that fits the evidence."""
    answers, budget = evidence.answers, accuracy.max_drop_points / 100
    if accuracy.metric == "macro_f1" and len(answers):
        drawn = resample_macro_f1(answers)
        low, high = drawn.bounds()
        above, within = drawn.p_above(budget), drawn.p_within(budget)
        return Drop(
            reference=drawn.reference, value=drawn.value, low=low, high=high, p_above=above, p_within=within
        )  # fmt: skip
    result = answers.result()
    counts = result.lost, result.gained, result.samples
    if evidence.sequential:
        low, high = sequential_bounds(*counts)
        above, within = _p_above_stream(*counts, budget), _p_within_stream(*counts, budget)
    else:
        low, high = drop_bounds(*counts)
        above, within = p_above(*counts, budget), p_within(*counts, budget)
    return Drop(
        reference=result.reference, value=result.value, low=low, high=high, p_above=above, p_within=within
    )  # fmt: skip


def verdict_of(drop: Drop, alpha: float = ALPHA) -> Verdict:
    """Pass when the drop is surely within the budget, fail when it is surely above, else undecided."""
    if drop.p_within <= alpha:
        return "pass"
    return "fail" if drop.p_above <= ALPHA else "undecided"


def _decide(evidence: Evidence, drop: Drop, interval: Interval, accuracy: Accuracy, *, exempt: bool) -> Reason:
    budget, samples = accuracy.max_drop_points, len(evidence.answers)
    text = (
        f"{evidence.note}drop {interval.value:+.2f} points, between {interval.low:.2f} and {interval.high:.2f} "
        f"(95 %, {samples} samples), allowed {budget:g}"
    )
    if evidence.looks > 1:
        text += f"; the {evidence.looks} candidates tried on these samples share the 5 %"
    unlabelled, note = _unlabelled(evidence, budget)
    verdict = "pass" if exempt else verdict_of(drop, pass_share(evidence))
    if verdict == "undecided" and unlabelled <= budget:
        verdict = "pass"
    if verdict == "undecided":
        text += _how_many(evidence, accuracy, drop)
    return Reason(layer="task", verdict=verdict, text=text + note, p_value=None if exempt else drop.p_above)


def pass_share(evidence: Evidence) -> float:
    """The error budget that labels have for a pass: half, when unlabelled images may give one too.

    Each candidate that was judged on the same samples could have passed by chance, so they share it.
    """
    labelled = ALPHA / 2 if evidence.unlabelled is not None and len(evidence.answers) else ALPHA
    return labelled / evidence.looks


def _unlabelled(evidence: Evidence, budget: float) -> tuple[float, str]:
    """The most points that answers which differ without a label can hide, and what to say about them.

    No more answers are lost than differ. Where labels decide too, each way gets half the error budget.
    """
    if evidence.unlabelled is None:
        return math.inf, ""
    changed, images = evidence.unlabelled
    bound = 100 * upper_rate(changed, images, ALPHA / 2 if len(evidence.answers) else ALPHA) if images else 100.0
    return bound, f"; {changed} of {images} unlabelled answers differ, which hides at most {bound:.2f} points"


def _how_many(evidence: Evidence, accuracy: Accuracy, drop: Drop) -> str:
    """How many more samples would decide at the observed rate of change."""
    samples, budget = len(evidence.answers), accuracy.max_drop_points / 100
    if accuracy.metric == "macro_f1":
        margin = abs(budget - (drop.reference - drop.value))
        width = drop.high - (drop.reference - drop.value)
        needed = math.ceil(samples * (width / margin) ** 2) if margin > 0 else None
    else:
        result = evidence.answers.result()
        method = samples_to_stop if evidence.sequential else samples_to_decide
        needed = method(result.lost, result.gained, samples, budget)
    if needed is None:
        return "; the drop stands on the bound, no number of samples would decide"
    least = fewest_samples(budget) if accuracy.metric == "top1" else 0
    never = f" (fewer than {least} can never prove {accuracy.max_drop_points:g})" if samples < least else ""
    return f"; about {max(1, needed - samples)} more samples would decide{never}"


def class_reasons(answers: Answers, labels: tuple[str, ...]) -> list[Reason]:
    """Silent classes fail; damaged ones are named."""
    reasons = []
    if silent := silent_classes(answers.reference, answers.variant, labels):
        cause = "silent: " + ", ".join(f"`{name}`" for name in list(silent)[:5]) + (", …" if len(silent) > 5 else "")
        text, p_value = "a class is never answered any more", min(silent.values())
        reasons.append(Reason(layer="task", verdict="fail", text=text, cause=cause, p_value=p_value))
    if hurt := damaged(answers, labels):
        text = "classes or groups lost significantly more than the rest"
        reasons.append(Reason(layer="task", verdict="pass", text=text, cause=_names(hurt)))
    return reasons


def _names(hurt: list[Damage]) -> str:
    named = [f"`{each.name}` lost {each.lost} of {each.right} right answers" for each in hurt[:5]]
    return ", ".join(named) + (", …" if len(hurt) > 5 else "")


def _class_bound(evidence: Evidence, most: float, labels: tuple[str, ...]) -> Reason:
    """The drop of each class and group against `most` points: fails on one (Holm), passes when all are within."""
    answers, above, within = evidence.answers, p_above, p_within
    if evidence.sequential:
        above, within = _p_above_stream, _p_within_stream
    counts = {name: _counts(answers, part) for name, part in parts(answers, labels)}
    adjusted = holm([above(*each, most / 100) for each in counts.values()])
    hurt = [f"`{name}`" for name, p in zip(counts, adjusted, strict=True) if p <= ALPHA]
    text = f"classes or groups that dropped by more than {most:g} points: {', '.join(hurt) or 'none is proven'}"
    verdict: Verdict = "fail" if hurt else "undecided"
    if not hurt and all(within(*each, most / 100) <= ALPHA for each in counts.values()):
        verdict = "pass"
    return Reason(layer="task", verdict=verdict, text=text, p_value=min(adjusted))


def _counts(answers: Answers, part: Array) -> tuple[int, int, int]:
    return int(answers.lost[part].sum()), int(answers.gained[part].sum()), int(part.sum())


def _p_above_stream(lost: int, gained: int, samples: int, max_drop: float) -> float:
    return math.exp(min(0.0, -e_above(lost, gained, samples, max_drop)))


def _p_within_stream(lost: int, gained: int, samples: int, max_drop: float) -> float:
    return math.exp(min(0.0, -e_within(lost, gained, samples, max_drop)))
