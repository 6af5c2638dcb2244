"""The drop of a detector's mean average precision, paired on the same photos: the bootstrap over photos.

Drawn are Dirichlet weights for the photos, Rubin's Bayesian bootstrap, the same for reference and variant; photos of
one group share theirs. Photos like none that was seen would then count as impossible, and a variant without a single
change would prove a drop of exactly zero. So each draw sees one more photo on its worst side: all that the reference
found in it is lost for the upper bound, all that the variant found for the lower. Where all photos are alike that is
Clopper and Pearson's bound, the rule of three. The one more photo is drawn from those seen as the metric counts them:
a label, one of its objects, and the photo that it lies in; so a label seen in few photos is known as little as it is.

References: Rubin, "The Bayesian bootstrap", Annals of Statistics 9 (1981); Clopper & Pearson, Biometrika 26 (1934).
"""

import math
from collections.abc import Iterator

import msgspec
import numpy as np

from edgetl.devices.answers import Answers
from edgetl.devices.resampling import DRAWS, Resampled, draws_for
from edgetl.devices.statistics import ALPHA
from edgetl.tasks.average_precision import THRESHOLDS, Matches, match, mean_precision
from edgetl.types import Array

UNIT = 2.0**20
"""Weights are whole multiples of one over this, so that their sums are exact and all objects found are all objects."""

MOST_WORK = 2e9
"""So many detections are weighted at most, where that leaves `DRAWS` draws: about a minute."""

_CELLS = 2_000_000
"""Weights held at once, so that memory stays bounded."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """What reference and variant found, held against the same objects. `units` (photos,): photos with the same number
    belong together.
    """

    reference: Matches
    variant: Matches
    units: Array

    def only(self, label: int) -> "Pair":
        """Of one label alone."""
        return Pair(reference=self.reference.only(label), variant=self.variant.only(label), units=self.units)

    @property
    def values(self) -> tuple[float, float]:
        """The metric of reference and variant, as fractions."""
        return mean_precision(self.reference.precisions()), mean_precision(self.variant.precisions())

    @property
    def objects(self) -> Array:
        """How many count, of shape (labels, photos)."""
        return np.array([each.objects for each in self.reference.labels]).reshape(-1, self.reference.photos)


def paired(answers: Answers, labels: int, thresholds: tuple[float, ...] = THRESHOLDS[:1]) -> Pair:
    """Holds all that was found against what is true; at an overlap of 0.5 alone, unless the caller says otherwise."""
    reference, variant = (
        match(each.tolist(), answers.truths.tolist(), labels, thresholds)
        for each in (answers.reference, answers.variant)
    )
    return Pair(reference=reference, variant=variant, units=_units(answers))


def resample_precision(pair: Pair, alpha: float = ALPHA) -> Resampled | None:
    """Mean average precision of reference and variant, and draws of its drop, with enough draws for bounds at 1 −
    `alpha`; None where no photo has any object. Seeded, so equal input gives equal bounds.
    """
    if not pair.objects.any():
        return None
    reference, value = pair.values
    pessimistic, optimistic = np.concatenate(list(_drops(pair, _draws(pair, alpha))), axis=1)
    return Resampled(reference=reference, value=value, pessimistic=pessimistic, optimistic=optimistic)


def photos_to_decide(drawn: Resampled, photos: int, budget: float, alpha: float, share: float) -> int | None:
    """How many photos in all would decide whether the drop is within `budget`, a fraction, if they were like these.

    `share`: what a pass has of the error budget `alpha`. What photos differ by shrinks with the root of their number,
    what one more may hide with the number. None: not even a thousand times as many would.
    """
    observed = drawn.reference - drawn.value
    middle, hidden = (drawn.pessimistic + drawn.optimistic) / 2, (drawn.pessimistic - drawn.optimistic) / 2
    spread = middle - observed
    times = 1.0
    while times <= 1000:
        around = observed + spread / math.sqrt(times)
        high = float(np.quantile(around + hidden / times, 1 - share))
        low = float(np.quantile(around - hidden / times, alpha))
        if high < budget or low > budget:
            return math.ceil(photos * times)
        times *= 1.02
    return None


def _units(answers: Answers) -> Array:
    """The number of each photo's group; a photo without one is a group of its own."""
    if answers.groups is None:
        return np.arange(len(answers))
    names, index = np.unique(answers.groups, return_inverse=True)
    alone = names[index] == ""
    return np.asarray(np.unique(np.where(alone, len(names) + np.arange(len(index)), index), return_inverse=True)[1])


def _draws(pair: Pair, alpha: float) -> int:
    detections = sum(len(each.photos) for side in (pair.reference, pair.variant) for each in side.labels)
    rows = max(1, 2 * detections * len(pair.reference.thresholds))
    return max(DRAWS, min(draws_for(alpha), int(MOST_WORK / rows)))


def _drops(pair: Pair, draws: int) -> Iterator[Array]:
    """Draws of the drop, pessimistic and optimistic, of shape (2, draws of a block)."""
    rng = np.random.default_rng(0)
    count, objects = int(pair.units.max()) + 1, pair.objects
    seen = objects[objects.any(axis=1)]
    chances = np.cumsum((seen / seen.sum(axis=1, keepdims=True)).mean(axis=0))
    step = max(1, _CELLS // max(1, len(pair.units)))
    for start in range(0, draws, step):
        some = min(step, draws - start)
        weights = _gammas(rng, (some, count))[:, pair.units]
        photo = np.minimum(np.searchsorted(chances, rng.random(some)), len(pair.units) - 1)
        one_more = _gammas(rng, (some, 1)) * (pair.units == pair.units[photo][:, None])
        yield np.stack([_drop(pair, weights + one_more, weights), _drop(pair, weights, weights + one_more)])


def _gammas(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return np.maximum(1, np.rint(UNIT * rng.gamma(1, size=shape)))


def _drop(pair: Pair, reference: Array, variant: Array) -> Array:
    """For each row of weights of what each found, shape (draws, photos); objects count with the larger one."""
    present = np.maximum(reference, variant)
    found = pair.reference.precisions(reference, present) - pair.variant.precisions(variant, present)
    return np.asarray(np.nanmean(found, axis=(1, 2)))
