"""Classes and groups of labelled samples: what was right in each, what was lost, and bounds of each one's drop."""

from collections.abc import Sequence

import msgspec
import numpy as np

from edgetl.devices.answers import Answers
from edgetl.devices.statistics import ALPHA, drop_bounds, log_factorials, score_bound
from edgetl.types import Array

Counts = tuple[int, int, int]
"""Lost, gained and all samples."""

MANY = 20
"""From more changed answers on, the score bound is within a few tenths of a point of the exact one."""

EXACT = 24
"""The bounds of so many different counts are exact; more would take seconds for a thousand classes."""

ACCURACY = 1e-4
"""Bounds of a part are at most a hundredth of a point too wide for being rounded."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Of `samples` the reference was right in `right`; the variant lost some of those and gained others."""

    name: str
    samples: int
    right: int
    lost: int
    gained: int

    @property
    def counts(self) -> Counts:
        """What decides about the drop."""
        return self.lost, self.gained, self.samples

    @property
    def drop_points(self) -> float:
        """Of the share of right answers, in percentage points."""
        return 100 * (self.lost - self.gained) / self.samples


def parts(answers: Answers, labels: Sequence[str]) -> list[Part]:
    """Every class in the order of the labels, and after them every group as "group NAME"."""
    found = _counted(answers, answers.truths, labels)
    if answers.groups is not None:
        names, index = np.unique(answers.groups, return_inverse=True)
        grouped = _counted(answers, index, [f"group {name}" for name in names])
        found += [part for name, part in zip(names, grouped, strict=True) if name]
    return found


def _counted(answers: Answers, index: Array, names: Sequence[str]) -> list[Part]:
    everything, right = np.ones(len(answers), bool), answers.reference == answers.truths
    samples, rights, lost, gained = (
        np.bincount(index[mask], minlength=len(names)).tolist()
        for mask in (everything, right, answers.lost, answers.gained)
    )
    return [
        Part(name=name, samples=samples[i], right=rights[i], lost=lost[i], gained=gained[i])
        for i, name in enumerate(names)
    ]


def part_bounds(found: Sequence[Part], alpha: float = ALPHA) -> dict[Counts, tuple[float, float]]:
    """One-sided bounds of the drop for all counts in `found`, as fractions; each holds at 1 − `alpha` by itself.

    Where many answers changed they are Tango's, where none did Clopper and Pearson's. Of the rest, those that lost
    most are exact as `drop_bounds` is; the others wider: the bound of the lost less that of the gained, each at half
    of `alpha`.
    """
    everything = {part.counts for part in found}
    still = {each: 1 - alpha ** (1 / each[2]) for each in everything if not _changes(each)}
    many = {each for each in everything if _changes(each) > MANY}
    few = sorted((each for each in everything - many if _changes(each)), key=_severity)
    bounds = {each: (-bound, bound) for each, bound in still.items()}
    bounds |= {(b, c, n): (-score_bound(c, b, n, alpha), score_bound(b, c, n, alpha)) for b, c, n in many}
    bounds |= {each: drop_bounds(*each, alpha, accuracy=ACCURACY) for each in few[:EXACT]}
    return bounds | _wide(few[EXACT:], alpha)


def _changes(counts: Counts) -> int:
    return counts[0] + counts[1]


def _severity(counts: Counts) -> tuple[float, int]:
    lost, gained, samples = counts
    return -(lost - gained) / samples, -lost


def _wide(found: Sequence[Counts], alpha: float) -> dict[Counts, tuple[float, float]]:
    if not found:
        return {}
    lost, gained, samples = np.array(found).T
    most_lost, most_gained = (_rates(events, samples, alpha / 2) for events in (lost, gained))
    least_lost, least_gained = (_rates(events - 1, samples, 1 - alpha / 2) for events in (lost, gained))
    bounds = zip((least_lost - most_gained).tolist(), (most_lost - least_gained).tolist(), strict=True)
    return dict(zip(found, bounds, strict=True))


def _rates(events: Array, samples: Array, chance: float) -> Array:
    """The rates at which at most so many `events` have that `chance`, many at once: Clopper & Pearson's bounds."""
    factorial, k, n = log_factorials(int(samples.max())), np.arange(int(events.max()) + 1)[:, None], samples
    ways = np.where(k <= events, factorial[n] - factorial[k] - factorial[np.maximum(n - k, 0)], -np.inf)
    low, high = np.zeros(len(n)), np.ones(len(n))
    for _ in range(30):
        middle = (low + high) / 2
        likely = np.exp(ways + k * np.log(middle) + (n - k) * np.log1p(-middle)).sum(axis=0) > chance
        low, high = np.where(likely, middle, low), np.where(likely, high, middle)
    return np.where(events >= n, 1.0, high)
