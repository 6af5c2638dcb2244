"""What the task layer judges, and what it finds: evidence, and the drop of a metric with its p-values."""

import math

import msgspec

from edgetl.devices.answers import Answers
from edgetl.devices.statistics import ALPHA, upper_rate
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


def verdict_of(drop: Drop, alpha: float = ALPHA, share: float | None = None) -> Verdict:
    """Pass when the drop is surely within the budget, fail when it is surely above, else undecided.

    `share`: what a pass has of the error budget `alpha`, when not all of it.
    """
    if drop.p_within <= (alpha if share is None else share):
        return "pass"
    return "fail" if drop.p_above <= alpha else "undecided"


def pass_share(evidence: Evidence, alpha: float = ALPHA) -> float:
    """What labels have of the error budget `alpha` for a pass: half, when unlabelled images may give one too.

    Each candidate that was judged on the same samples could have passed by chance, so they share it.
    """
    labelled = alpha / 2 if evidence.unlabelled is not None and len(evidence.answers) else alpha
    return labelled / evidence.looks


def hidden_by_unlabelled(evidence: Evidence, alpha: float) -> tuple[float, str]:
    """The most points that answers which differ without a label can hide, and what to say about them.

    No more answers are lost than differ. Where labels decide too, each way gets half the error budget.
    """
    if evidence.unlabelled is None:
        return math.inf, ""
    changed, images = evidence.unlabelled
    bound = 100 * upper_rate(changed, images, alpha / 2 if len(evidence.answers) else alpha) if images else 100.0
    return bound, f"; {changed} of {images} unlabelled answers differ, which hides at most {bound:.2f} points"


def by_width(evidence: Evidence, budget: float, drop: Drop) -> int | None:
    """How many samples in all would decide where bounds narrow with the root of their number; None for never."""
    margin = abs(budget - (drop.reference - drop.value))
    width = drop.high - (drop.reference - drop.value)
    return math.ceil(len(evidence.answers) * (width / margin) ** 2) if margin > 0 else None
