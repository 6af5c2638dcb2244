"""Which classes or groups a conversion damaged: silent ones, and those that lost more than the rest.

References: Fisher's exact test (hypergeometric tail); Holm's correction over all classes and groups.
"""

import msgspec
import numpy as np

from edgetl.devices.answers import Answers
from edgetl.devices.multiplicity import holm
from edgetl.devices.parts import parts
from edgetl.devices.statistics import ALPHA, log_factorials, upper_rate
from edgetl.types import Array

MIN_ANSWERS = 3


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """`lost` of the `right` answers the reference gave in `name`, which is a class or a group."""

    name: str
    lost: int
    right: int
    p_value: float


def silent_classes(reference: Array, variant: Array, labels: tuple[str, ...], alpha: float = ALPHA) -> dict[str, float]:
    """Labels the reference gives and the variant never does, more often than changed answers explain, with p-values.

    `reference`, `variant`: label indices, shape (samples,). With a share c of answers changed elsewhere, all r
    answers of a label change by chance with probability c^r; that must be below `alpha` over all labels. A label
    that was given fewer than `MIN_ANSWERS` times is not judged.
    """
    given = np.bincount(reference, minlength=len(labels))
    unheard = np.flatnonzero((given >= MIN_ANSWERS) & (np.bincount(variant, minlength=len(labels)) == 0))
    if not len(unheard):
        return {}
    elsewhere = ~np.isin(reference, unheard)
    share = upper_rate(int(np.sum((reference != variant) & elsewhere)), int(elsewhere.sum()), alpha)
    chances = {labels[i]: min(1.0, float(share ** int(given[i]) * np.count_nonzero(given))) for i in unheard}
    return {label: chance for label, chance in chances.items() if chance <= alpha}


def damaged(answers: Answers, labels: tuple[str, ...], alpha: float = ALPHA) -> list[Damage]:
    """Classes and groups whose right answers were lost significantly more often than the rest's, worst first."""
    right, lost = int(np.sum(answers.reference == answers.truths)), int(answers.lost.sum())
    divided = parts(answers, labels)
    hurt = [part for part in divided if part.lost]
    tails = [_tail(part.lost, part.right, lost, right) for part in hurt]
    unharmed = [1.0] * (len(divided) - len(hurt))
    found = [
        Damage(name=part.name, lost=part.lost, right=part.right, p_value=p)
        for part, p in zip(hurt, holm(tails + unharmed)[: len(hurt)], strict=True)
        if p <= alpha
    ]
    return sorted(found, key=lambda each: each.p_value)


def _tail(lost: int, right: int, all_lost: int, all_right: int) -> float:
    """Probability that at least `lost` of `all_lost`, drawn from `all_right`, fall among `right`."""
    log = log_factorials(all_right)
    k = np.arange(lost, min(right, all_lost) + 1)
    k = k[all_lost - k <= all_right - right]

    def choose(n: int, of: Array) -> Array:
        return np.asarray(log[n] - log[of] - log[n - of])

    logs = choose(right, k) + choose(all_right - right, all_lost - k) - choose(all_right, np.array(all_lost))
    return min(1.0, float(np.exp(logs).sum()))
