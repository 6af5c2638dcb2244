"""Task layer: how much of the metric was lost, on the same samples."""

from edgetl.devices.drop import Drop, Evidence, hidden_by_unlabelled, pass_share, verdict_of
from edgetl.devices.measures import measure_of
from edgetl.devices.profile import Accuracy
from edgetl.devices.statistics import error_budget, percent
from edgetl.devices.verdict import Interval, Metric, Reason


def task_layer(
    evidence: Evidence, accuracy: Accuracy, labels: tuple[str, ...], *, exempt: bool
) -> tuple[Metric | None, Interval | None, list[Reason]]:
    """The paired drop against its bound, and what happened to each class, all at the profile's confidence.

    `exempt`: an fp32 variant that passed numerics, which need not prove its accuracy.
    """
    answers, measure = evidence.answers, measure_of(accuracy)
    if not len(answers) and not evidence.unlabelled and not exempt:
        return None, None, [Reason(layer="task", verdict="undecided", text=f"{evidence.note}no sample has a label")]
    alpha = error_budget(accuracy.confidence)
    drop = measure.drop(evidence, accuracy)
    interval = Interval(value=100 * (drop.reference - drop.value), low=100 * drop.low, high=100 * drop.high)
    metric = Metric(name=accuracy.metric, reference=drop.reference, value=drop.value) if len(answers) else None
    decided = _decide(evidence, drop, interval, accuracy, exempt=exempt)
    reasons = [decided, *measure.class_reasons(answers, labels, alpha)]
    if (most := accuracy.max_class_drop_points) is not None and not exempt and len(answers):
        share, sequential = alpha / evidence.looks, evidence.sequential
        reasons.append(measure.class_bound(answers, most, labels, alpha, share=share, sequential=sequential))
    return metric, interval, reasons


def _decide(evidence: Evidence, drop: Drop, interval: Interval, accuracy: Accuracy, *, exempt: bool) -> Reason:
    budget, samples, alpha = accuracy.max_drop_points, len(evidence.answers), error_budget(accuracy.confidence)
    text = (
        f"{evidence.note}drop {interval.value:+.2f} points, between {interval.low:.2f} and {interval.high:.2f} "
        f"({percent(alpha)}, {samples} samples), allowed {budget:g}"
    )
    if evidence.looks > 1:
        text += f"; the {evidence.looks} candidates tried on these samples share the {percent(1 - alpha)}"
    unlabelled, note = hidden_by_unlabelled(evidence, alpha)
    verdict = "pass" if exempt else verdict_of(drop, alpha, pass_share(evidence, alpha))
    if verdict == "undecided" and unlabelled <= budget:
        verdict = "pass"
    if verdict == "undecided":
        text += _how_many(evidence, accuracy, drop)
    return Reason(layer="task", verdict=verdict, text=text + note, p_value=None if exempt else drop.p_above)


def _how_many(evidence: Evidence, accuracy: Accuracy, drop: Drop) -> str:
    """How many more samples would decide at the observed rate of change."""
    samples, measure = len(evidence.answers), measure_of(accuracy)
    needed = measure.enough(evidence, accuracy, drop)
    if needed is None:
        return "; the drop stands on the bound, no number of samples would decide"
    least = measure.fewest(evidence, accuracy)
    never = f" (fewer than {least} can never prove {accuracy.max_drop_points:g})" if samples < least else ""
    return f"; about {max(1, needed - samples)} more samples would decide{never}"
