"""What happened to each label and each group of photos: average precision, its drop, silent and damaged ones."""

from collections.abc import Iterator

import msgspec
import numpy as np

from edgetl.devices.answers import Answers
from edgetl.devices.detection.drop import Pair, paired, resample_precision
from edgetl.devices.multiplicity import holm
from edgetl.devices.resampling import Resampled
from edgetl.devices.statistics import ALPHA, upper_rate
from edgetl.devices.verdict import ClassReport, Interval, Reason
from edgetl.tasks.average_precision import Matches
from edgetl.types import Array, Verdict

MIN_FOUND = 3
"""A label of which the reference found fewer objects is not called silent."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A label, or a group of photos, with its number of objects and the draws of its drop."""

    name: str
    objects: int
    drawn: Resampled


def parts(answers: Answers, labels: tuple[str, ...], alpha: float = ALPHA) -> list[Part]:
    """Every label that has objects, in their order, and after them every group as "group NAME"."""
    pair = paired(answers, len(labels))
    each = [(name, pair.only(label)) for label, name in enumerate(labels)]
    if answers.groups is not None:
        names = [name for name in np.unique(answers.groups) if name]
        each += [(f"group {name}", paired(answers.only(answers.groups == name), len(labels))) for name in names]
    return list(_drawn(each, alpha))


def _drawn(each: list[tuple[str, Pair]], alpha: float) -> Iterator[Part]:
    for name, pair in each:
        if (drawn := resample_precision(pair, alpha)) is not None:
            yield Part(name=name, objects=int(pair.objects.sum()), drawn=drawn)


def label_reports(
    answers: Answers, labels: tuple[str, ...], alpha: float = ALPHA, *, sequential: bool = False
) -> tuple[ClassReport, ...]:
    """The average precision of torch and of the variant for every label and group that has objects.

    The bounds of a drop are each one's own, at 1 − `alpha`; only `damaged` is corrected for looking at many.
    """
    found = parts(answers, labels, alpha)
    hurt = damaged(found, alpha)
    return tuple(_report(part, alpha, part.name in hurt) for part in found)


def _report(part: Part, alpha: float, hurt: bool) -> ClassReport:
    drawn = part.drawn
    low, high = drawn.bounds(alpha)
    drop = Interval(value=100 * (drawn.reference - drawn.value), low=100 * low, high=100 * high)
    return ClassReport(
        name=part.name, samples=part.objects, reference=drawn.reference, value=drawn.value, drop_points=drop,
        damaged=hurt,
    )  # fmt: skip


def damaged(found: list[Part], alpha: float = ALPHA) -> list[str]:
    """Those that lost significantly more than the mean of all, at `alpha` over all of them; worst first."""
    if len(found) < 2:
        return []
    drops = np.array([part.drawn.reference - part.drawn.value for part in found])
    # a label that lost nothing cannot have lost more than the rest
    least = max(0.0, float(drops.mean()))
    adjusted = holm([part.drawn.p_above(least) for part in found])
    hurt = [i for i, p in enumerate(adjusted) if p <= alpha]
    return [found[i].name for i in sorted(hurt, key=lambda i: -drops[i])]


def label_reasons(answers: Answers, labels: tuple[str, ...], alpha: float = ALPHA) -> list[Reason]:
    """Silent labels fail; damaged ones are named."""
    reasons = []
    if silent := silent_labels(paired(answers, len(labels)), labels, alpha):
        cause = "silent: " + ", ".join(f"`{name}`" for name in list(silent)[:5]) + (", …" if len(silent) > 5 else "")
        text, p_value = "no object of a label is found any more", min(silent.values())
        reasons.append(Reason(layer="task", verdict="fail", text=text, cause=cause, p_value=p_value))
    found = {part.name: part for part in parts(answers, labels, alpha)}
    if hurt := damaged(list(found.values()), alpha):
        said = [f"`{name}` {_points(found[name].drawn)}" for name in hurt[:5]]
        text = "labels or groups lost significantly more than the rest"
        cause = ", ".join(said) + (", …" if len(hurt) > 5 else "")
        reasons.append(Reason(layer="task", verdict="pass", text=text, cause=cause))
    return reasons


def _points(drawn: Resampled) -> str:
    return f"dropped from {100 * drawn.reference:.1f} to {100 * drawn.value:.1f} points"


def silent_labels(pair: Pair, labels: tuple[str, ...], alpha: float = ALPHA) -> dict[str, float]:
    """Labels of which the reference found objects and the variant none, more often than losses elsewhere explain.

    If a share c of objects is lost elsewhere, all r of a label are lost by chance with probability c^r; that must be
    below `alpha` over all labels.
    """
    right, still = (_right(side) for side in (pair.reference, pair.variant))
    unheard = np.flatnonzero((right >= MIN_FOUND) & (still == 0))
    elsewhere = np.setdiff1d(np.flatnonzero(right), unheard)
    lost = int(np.maximum(right - still, 0)[elsewhere].sum())
    share = upper_rate(lost, int(right[elsewhere].sum()), alpha)
    chances = {labels[i]: min(1.0, float(share ** int(right[i]) * np.count_nonzero(right))) for i in unheard}
    return {label: chance for label, chance in chances.items() if chance <= alpha}


def _right(matches: Matches) -> Array:
    """How many objects of each label were found."""
    return np.array([int(each.right[0].sum()) for each in matches.labels])


def label_bound(
    answers: Answers,
    most: float,
    labels: tuple[str, ...],
    alpha: float = ALPHA,
    *,
    share: float | None = None,
    sequential: bool = False,
) -> Reason:
    """The drop of each label and group against `most` points: fails on one (Holm), passes when all are within.

    `share`: what a pass has of the error budget `alpha`, when not all of it.
    """
    found, budget = parts(answers, labels, alpha), most / 100
    adjusted = holm([part.drawn.p_above(budget) for part in found])
    hurt = [f"`{part.name}`" for part, p in zip(found, adjusted, strict=True) if p <= alpha]
    within = all(part.drawn.p_within(budget) <= (alpha if share is None else share) for part in found)
    verdict: Verdict = "fail" if hurt else "pass" if within and found else "undecided"
    text = f"labels or groups that dropped by more than {most:g} points: {', '.join(hurt) or 'none is proven'}"
    return Reason(layer="task", verdict=verdict, text=text, p_value=min(adjusted, default=1.0))
