"""Bounds for metrics that are no mean of right and wrong answers: the bootstrap over images.

Drawn are Dirichlet weights for the distinct (truth, reference, variant) triples, Rubin's Bayesian bootstrap. What
was never observed would then count as impossible, and an unchanged sample set would prove a drop of exactly zero;
so each bound sees one more image, on its worst side: lost for the upper bound, gained for the lower. For plain
accuracy that is what the Clopper–Pearson bound does.

References: Rubin, "The Bayesian bootstrap", Annals of Statistics 9 (1981); Clopper & Pearson, Biometrika 26 (1934).
"""

import math

import msgspec
import numpy as np

from edgetl.devices.answers import Answers
from edgetl.devices.statistics import ALPHA
from edgetl.types import Array

DRAWS = 2000
"""Draws for an error budget of 5 %; a smaller one needs more for as many to lie beyond its bounds."""


class Resampled(msgspec.Struct, frozen=True, kw_only=True):
    """Macro-F1 of reference and variant, and draws of its drop, pessimistic and optimistic, as fractions."""

    reference: float
    value: float
    pessimistic: Array
    optimistic: Array

    def bounds(self, alpha: float = ALPHA) -> tuple[float, float]:
        """One-sided lower and upper bounds of the drop."""
        return float(np.quantile(self.optimistic, alpha)), float(np.quantile(self.pessimistic, 1 - alpha))

    def p_within(self, max_drop: float) -> float:
        """p-value of "the true drop is at least `max_drop`"."""
        return (float(np.sum(self.pessimistic >= max_drop)) + 1) / (len(self.pessimistic) + 1)

    def p_above(self, max_drop: float) -> float:
        """p-value of "the true drop is at most `max_drop`"."""
        return (float(np.sum(self.optimistic <= max_drop)) + 1) / (len(self.optimistic) + 1)


def draws_for(alpha: float) -> int:
    """How many draws leave as many beyond the bounds at 1 − `alpha` as `DRAWS` do at 95 %."""
    return math.ceil(DRAWS * max(1.0, ALPHA / alpha))


def resample_macro_f1(answers: Answers, draws: int = DRAWS) -> Resampled:
    """Macro-F1 over the classes that occur in the truths; seeded, so equal input gives equal bounds."""
    triples = np.stack([answers.truths, answers.reference, answers.variant], axis=1)
    distinct, counts = np.unique(triples, axis=0, return_counts=True)
    reference, value = (float(scores[0]) for scores in _scores(distinct, counts[None].astype(float)))
    rarest = int(np.unique(answers.truths)[np.unique(answers.truths, return_counts=True)[1].argmin()])
    other = next(int(label) for label in (*np.unique(answers.truths), rarest + 1) if label != rarest)
    return Resampled(
        reference=reference,
        value=value,
        pessimistic=_drops(distinct, counts, (rarest, rarest, other), draws),
        optimistic=_drops(distinct, counts, (rarest, other, rarest), draws),
    )


def _drops(distinct: Array, counts: Array, unseen: tuple[int, int, int], draws: int) -> Array:
    """Draws of the drop when the image `unseen` is added."""
    rng = np.random.default_rng(0)
    triples = np.vstack([distinct, [unseen]])
    found = []
    for start in range(0, draws, DRAWS):
        weights = rng.gamma(np.append(counts, 1), size=(min(DRAWS, draws - start), len(triples)))
        reference, value = _scores(triples, weights)
        found.append(reference - value)
    return np.concatenate(found)


def _scores(triples: Array, weights: Array) -> tuple[Array, Array]:
    """Macro-F1 of reference and variant for each row of `weights`, shape (draws, triples)."""
    truths, reference, variant = triples.T
    classes = np.unique(truths)
    return _macro_f1(truths, reference, weights, classes), _macro_f1(truths, variant, weights, classes)


def _macro_f1(truths: Array, predicted: Array, weights: Array, classes: Array) -> Array:
    right = weights @ ((truths[:, None] == classes) & (predicted == truths)[:, None])
    named = weights @ (predicted[:, None] == classes)
    present = weights @ (truths[:, None] == classes)
    return np.asarray((2 * right / (named + present)).mean(axis=1))
