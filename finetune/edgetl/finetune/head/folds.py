"""Which samples choose a setting: a stratified part of many, and folds that keep groups together."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from edgetl.errors import DataError
from edgetl.types import Array

Positions = NDArray[np.int64]
Fold = tuple[Positions, Positions]
"""Positions to train on, and positions held out."""

KEPT_OF_A_CLASS = 2
"""A class that is thinned out keeps so many samples, so that one can train and one be held out."""


def stratified_rows(truths: Array, most: int, *, seed: int) -> Positions:
    """Sorted positions of at most `most` samples, each class in proportion.

    Each class keeps `KEPT_OF_A_CLASS` samples, so with very many classes there may be a few more.
    """
    if len(truths) <= most:
        return np.arange(len(truths))
    rng = np.random.default_rng(seed)
    kept = []
    for members in _by_class(truths):
        count = max(KEPT_OF_A_CLASS, int(len(members) * most / len(truths)))
        kept.append(rng.permutation(members)[:count])
    return np.sort(np.concatenate(kept))


def stratified_folds(truths: Array, most: int, *, seed: int, groups: Array | None = None) -> list[Fold]:
    """At most `most` folds, stratified by class; samples of one of `groups` (samples,) stay in one fold.

    There are no more folds than the rarest class has samples (or groups), but at least two.
    Raises DataError when a fold would leave a single class to train on.
    """
    units = truths if groups is None else truths[np.unique(np.stack([truths, groups]), axis=1, return_index=True)[1]]
    count = max(2, min(most, *(len(members) for members in _by_class(units))))
    if groups is None:
        splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    else:
        if len(np.unique(groups)) < 2:
            raise _inseparable()
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    folds = [(train, held) for train, held in splitter.split(truths, truths, groups) if len(held)]
    if any(len(np.unique(truths[train])) < 2 for train, _ in folds):
        raise _inseparable()
    return folds


def _inseparable() -> DataError:
    return DataError(
        "the groups leave a single class to train on when one is held out",
        hint="at least two classes need images of two groups",
    )


def _by_class(truths: Array) -> Iterator[Positions]:
    for label in np.unique(truths):
        yield np.flatnonzero(truths == label)
