"""What happened to each class and group: silent and damaged ones, a bound for all, and the figures of each."""

from collections.abc import Sequence

from edgetl.devices.answers import Answers
from edgetl.devices.damage import Damage, damaged, silent_classes
from edgetl.devices.multiplicity import holm
from edgetl.devices.parts import Counts, Part, part_bounds, parts
from edgetl.devices.sequential import sequential_bounds, stream_p_above, stream_p_within
from edgetl.devices.statistics import ALPHA, p_above, p_within
from edgetl.devices.verdict import ClassReport, Interval, Reason
from edgetl.types import Verdict


def class_reports(
    answers: Answers, labels: tuple[str, ...], alpha: float = ALPHA, *, sequential: bool = False
) -> tuple[ClassReport, ...]:
    """The recall of torch and of the variant in every class and group that has samples, in the order of the labels.

    The bounds of a drop are each class's own, at 1 − `alpha`: of a hundred classes some lie outside theirs by chance.
    Only `damaged` is corrected for looking at many. `sequential`: as in `class_bound`.
    """
    found = [part for part in parts(answers, labels) if part.samples]
    if sequential:
        bounds = {part.counts: sequential_bounds(*part.counts, alpha) for part in found}
    else:
        bounds = part_bounds(found, alpha)
    hurt = {each.name for each in damaged(answers, labels, alpha)}
    return tuple(_report(part, bounds[part.counts], part.name in hurt) for part in found)


def _report(part: Part, bounds: tuple[float, float], hurt: bool) -> ClassReport:
    changed = part.gained - part.lost
    drop = Interval(value=-100 * changed / part.samples, low=100 * bounds[0], high=100 * bounds[1])
    return ClassReport(
        name=part.name,
        samples=part.samples,
        reference=part.right / part.samples,
        value=(part.right + changed) / part.samples,
        drop_points=drop,
        damaged=hurt,
    )


def class_reasons(answers: Answers, labels: tuple[str, ...], alpha: float = ALPHA) -> list[Reason]:
    """Silent classes fail; damaged ones are named."""
    reasons = []
    if silent := silent_classes(answers.reference, answers.variant, labels, alpha):
        cause = "silent: " + ", ".join(f"`{name}`" for name in list(silent)[:5]) + (", …" if len(silent) > 5 else "")
        text, p_value = "a class is never answered any more", min(silent.values())
        reasons.append(Reason(layer="task", verdict="fail", text=text, cause=cause, p_value=p_value))
    if hurt := damaged(answers, labels, alpha):
        text = "classes or groups lost significantly more than the rest"
        reasons.append(Reason(layer="task", verdict="pass", text=text, cause=_names(hurt)))
    return reasons


def _names(hurt: Sequence[Damage]) -> str:
    named = [f"`{each.name}` lost {each.lost} of {each.right} right answers" for each in hurt[:5]]
    return ", ".join(named) + (", …" if len(hurt) > 5 else "")


def class_bound(
    answers: Answers,
    most: float,
    labels: tuple[str, ...],
    alpha: float = ALPHA,
    *,
    share: float | None = None,
    sequential: bool = False,
) -> Reason:
    """The drop of each class and group against `most` points: fails on one (Holm), passes when all are within.

    `share`: what a pass has of the error budget `alpha`, when not all of it. `sequential`: the samples were a stream
    that was looked at all along.
    """
    found, budget = parts(answers, labels), most / 100
    adjusted = holm(_chances_above(found, budget, alpha, sequential=sequential))
    hurt = [f"`{part.name}`" for part, p in zip(found, adjusted, strict=True) if p <= alpha]
    text = f"classes or groups that dropped by more than {most:g} points: {', '.join(hurt) or 'none is proven'}"
    verdict: Verdict = "fail" if hurt else "undecided"
    if not hurt and _all_within(found, budget, alpha if share is None else share, sequential=sequential):
        verdict = "pass"
    return Reason(layer="task", verdict=verdict, text=text, p_value=min(adjusted))


def _chances_above(found: Sequence[Part], budget: float, alpha: float, *, sequential: bool) -> list[float]:
    """The p-value of "dropped by at most `budget`" for each part; 1 where so much was not even observed.

    A p-value is never below a share of the error budget it is made for, so each gets its part of `alpha`: else none
    of a thousand would be left after Holm's correction.
    """
    above = {counts for counts in (part.counts for part in found) if _observed(counts) > budget}
    if sequential:
        chances = {counts: stream_p_above(*counts, budget) for counts in above}
    else:
        chances = {counts: p_above(*counts, budget, alpha / len(found)) for counts in above}
    return [chances.get(part.counts, 1.0) for part in found]


def _all_within(found: Sequence[Part], budget: float, share: float, *, sequential: bool) -> bool:
    """Whether every part surely dropped by less than `budget`. Those that show it worst are asked first."""
    ordered = sorted({part.counts for part in found}, key=lambda counts: (_observed(counts) < budget, counts[2]))
    if sequential:
        return all(stream_p_within(*counts, budget) <= share for counts in ordered)
    return all(p_within(*counts, budget, share) <= share for counts in ordered)


def _observed(counts: Counts) -> float:
    """The drop as a fraction."""
    lost, gained, samples = counts
    return (lost - gained) / max(samples, 1)
