"""Which classes or groups a conversion damaged: silent ones, and those that lost more than the rest.

References: Fisher's exact test (hypergeometric tail); Holm's correction over all classes and groups.
"""

import msgspec
import numpy as np

from edgetl.devices.answers import Answers
from edgetl.devices.multiplicity import holm
from edgetl.devices.statistics import ALPHA, log_factorials, upper_rate
from edgetl.types import Array

MIN_ANSWERS = 3


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """`lost` of the `right` answers the reference gave in `name`, which is a class or a group."""

    name: str
    lost: int
    right: int
    p_value: float


def silent_classes(reference: Array, variant: Array, labels: tuple[str, ...]) -> dict[str, float]:
    """Labels the reference gives and the variant never does, more often than changed answers explain, with p-values.

    `reference`, `variant`: label indices, shape (samples,). With a share c of answers changed elsewhere, all r
    answers of a label change by chance with probability c^r; that must be below 5 % over all labels. A label
    that was given fewer than `MIN_ANSWERS` times is not judged.
    """
    given = np.bincount(reference, minlength=len(labels))
    unheard = np.flatnonzero((given >= MIN_ANSWERS) & (np.bincount(variant, minlength=len(labels)) == 0))
    if not len(unheard):
        return {}
    elsewhere = ~np.isin(reference, unheard)
    share = upper_rate(int(np.sum((reference != variant) & elsewhere)), int(elsewhere.sum()))
    chances = {labels[i]: min(1.0, float(share ** int(given[i]) * np.count_nonzero(given))) for i in unheard}
    return {label: chance for label, chance in chances.items() if chance <= ALPHA}


def parts(answers: Answers, labels: tuple[str, ...]) -> list[tuple[str, Array]]:
    """Every class and every group by name, with the mask of its samples."""
    found = [(label, np.asarray(answers.truths == i)) for i, label in enumerate(labels)]
    if answers.groups is not None:
        names = [name for name in np.unique(answers.groups) if name]
        found += [(f"group {name}", np.asarray(answers.groups == name)) for name in names]
    return found


def damaged(answers: Answers, labels: tuple[str, ...]) -> list[Damage]:
    """Classes and groups whose right answers were lost significantly more often than the rest's, worst first."""
    right, lost, divided = answers.reference == answers.truths, answers.lost, parts(answers, labels)
    found = [
        Damage(name=name, lost=int(lost[part].sum()), right=int(right[part].sum()), p_value=1.0)
        for name, part in divided
        if lost[part].any()
    ]
    tails = [_tail(each.lost, each.right, int(lost.sum()), int(right.sum())) for each in found]
    unharmed = [1.0] * (len(divided) - len(found))
    adjusted = holm(tails + unharmed)[: len(found)]
    named = [msgspec.structs.replace(each, p_value=p) for each, p in zip(found, adjusted, strict=True) if p <= ALPHA]
    return sorted(named, key=lambda each: each.p_value)


def _tail(lost: int, right: int, all_lost: int, all_right: int) -> float:
    """Probability that at least `lost` of `all_lost`, drawn from `all_right`, fall among `right`."""
    log = log_factorials(all_right)
    k = np.arange(lost, min(right, all_lost) + 1)
    k = k[all_lost - k <= all_right - right]

    def choose(n: int, of: Array) -> Array:
        return np.asarray(log[n] - log[of] - log[n - of])

    logs = choose(right, k) + choose(all_right - right, all_lost - k) - choose(all_right, np.array(all_lost))
    return min(1.0, float(np.exp(logs).sum()))
