"""Which samples are held out: a fifth for val, or a part of train for choices; groups stay together."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import DataError
from edgetl.finetune.data.table import SPLIT_NAMES, Samples, counted, sorted_rows
from edgetl.types import Array

VAL_FRACTION = 0.2
ATTEMPTS = 16
"""Random orders of the groups that are tried before a split is called impossible."""

TRAIN, VAL = SPLIT_NAMES.index("train"), SPLIT_NAMES.index("val")


def split_val(samples: Samples, seed: int) -> None:
    """Moves a fifth of each class from train to val, at least one image, never the last; writes the rows.

    Raises DataError when the groups leave no such split.
    """
    train = np.flatnonzero(samples.splits == TRAIN)
    held = _held(samples, train, VAL_FRACTION, seed)
    samples.splits[train[held]] = VAL


def hold_out(samples: Samples, fraction: float, seed: int) -> tuple[Samples, Samples]:
    """(what is left to fit on, what is held out for choices), both in the order of `samples`.

    Stratified and seeded: of each class `fraction`, at least one image, never the last. No group is on both sides.
    Raises DataError when the groups leave no such split.
    """
    held = _held(samples, None, fraction, seed)
    return samples.take(np.flatnonzero(~held)), samples.take(np.flatnonzero(held))


def _held(samples: Samples, rows: NDArray[np.int64] | None, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which of the `rows` (None: all) are held out."""
    labels, groups = (column if rows is None else column[rows] for column in (samples.labels, samples.groups))
    totals = counted(labels, int(labels.max()) + 1 if len(labels) else 0)
    targets = np.minimum(totals - 1, np.maximum(1, np.rint(fraction * totals).astype(np.int64))).clip(0)
    rng = np.random.default_rng(seed)
    if not (groups >= 0).any():
        return _drawn(labels, np.ones(len(labels), bool), targets, rng)
    for _ in range(ATTEMPTS):
        held = _whole_groups(labels, groups, totals, targets, rng)
        reached = np.bincount(labels[held], minlength=len(totals))
        held |= _drawn(labels, groups < 0, (targets - reached).clip(0), rng)
        counts = np.bincount(labels[held], minlength=len(totals))
        if ((counts > 0) | (totals < 2)).all():
            return held
    where = int(np.flatnonzero((counts == 0) & (totals > 1))[0])
    one = int(np.flatnonzero(labels == where)[0])
    row = one if rows is None else int(rows[one])
    raise DataError(
        f"the groups leave nothing of the class of `{samples.path(row)}` to hold out "
        f"(it is in the group `{samples[row].group}`)",
        hint="every class needs samples of at least two groups; or give the split in the column `split`",
    )


def _drawn(labels: Array, allowed: Array, targets: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A random choice of `targets[c]` of the allowed samples of each class `c`; of all, if there are fewer."""
    held = np.zeros(len(labels), bool)
    for label, members in _by_class(labels, allowed):
        held[members[rng.permutation(len(members))[: targets[label]]]] = True
    return held


def _by_class(labels: Array, allowed: Array) -> Iterator[tuple[int, Array]]:
    """Each class with the rows of its allowed samples."""
    kinds = int(labels.max()) + 1 if len(labels) else 0
    rows, ends = sorted_rows(labels, kinds), np.cumsum(counted(labels, kinds))
    for label, (start, end) in enumerate(pairwise([0, *ends])):
        members = rows[start:end]
        yield label, members[allowed[members]]


def _whole_groups(
    labels: Array, groups: Array, totals: Array, targets: Array, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Groups taken in random order while they bring the classes nearer to their targets; then one for a class without.

    A class never loses its last image to the held-out side.
    """
    cells = _cells(labels, groups)
    names = np.array(list(cells))
    reached, taken = np.zeros(len(totals), np.int64), set()

    def fits(group: int) -> bool:
        kinds, counts = cells[group]
        return bool((reached[kinds] + counts <= totals[kinds] - 1).all())

    def take(group: int) -> None:
        kinds, counts = cells[group]
        reached[kinds] += counts
        taken.add(group)

    for group in rng.permutation(names).tolist():
        kinds, counts = cells[group]
        off = targets[kinds] - reached[kinds]
        if fits(group) and np.abs(off - counts).sum() < np.abs(off).sum():
            take(group)
    loose = np.bincount(labels[groups < 0], minlength=len(totals))
    for label in np.flatnonzero((totals > 1) & (loose == 0)).tolist():
        if not reached[label]:
            able = [g for g, (kinds, _) in cells.items() if label in kinds and g not in taken and fits(g)]
            if able:
                take(min(able, key=lambda group: int(cells[group][1].sum())))
    return np.isin(groups, sorted(taken))


def _cells(labels: Array, groups: Array) -> dict[int, tuple[Array, Array]]:
    """For each group the classes in it, and how many images of each."""
    rows = np.flatnonzero(groups >= 0)
    rows = rows[np.lexsort((labels[rows], groups[rows]))]
    starts = np.flatnonzero(np.diff(groups[rows], prepend=-1))
    return {
        int(groups[rows[start]]): np.unique(labels[rows[start:end]], return_counts=True)
        for start, end in pairwise([*starts, len(rows)])
    }
