"""The drop of an accuracy measured on the same samples: p-values and bounds, exact where counts are small.

A sample is *lost* when only the reference was right, *gained* when only the variant was; the drop is the
difference of the two probabilities. Bounds are one-sided at 1 − `alpha`: 95 % unless the
caller says otherwise.

References: Tango, "Equivalence test and confidence interval for the difference in proportions for the
paired-sample design", Statistics in Medicine 17 (1998); Berger & Boos, "P values maximized over a confidence
set for the nuisance parameter", JASA 89 (1994).
"""

import functools
import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from edgetl.types import Array

ALPHA = 0.05
"""The error budget where nobody names another."""

EXACT_SAMPLES = 20_000
EXACT_CHANGES = 200
"""Up to so many samples and changed answers p-values are exact; above, the score test is accurate enough."""

BOOS = 1 / 500
"""The share of the error budget spent on the interval for the change rate: what the smallest p-value is made of."""

NEAR = 0.9
"""Scores below this share of what would decide need no exact p-value; without changes the exact one decides at 0.92."""

_CELLS = 2_000_000
"""Probabilities computed at once, so that memory stays bounded."""


def error_budget(confidence: float) -> float:
    """What `confidence` leaves of 1, without a binary fraction's rounding: 0.05 of 0.95."""
    return round(1 - confidence, 12)


def percent(alpha: float) -> str:
    """The confidence that an error budget leaves, in words: "95 %"."""
    return f"{100 * (1 - alpha):.6g} %"


def p_above(lost: int, gained: int, samples: int, max_drop: float, alpha: float = ALPHA) -> float:
    """p-value of "the true drop is at most `max_drop`": small when the drop is clearly above it.

    `alpha`: the error budget it will be compared with, of which it takes `BOOS`.
    """
    return p_within(gained, lost, samples, -max_drop, alpha)


def p_within(lost: int, gained: int, samples: int, max_drop: float, alpha: float = ALPHA) -> float:
    """p-value of "the true drop is at least `max_drop`": small when the drop is clearly below it; see `p_above`."""
    if samples == 0:
        return 1.0
    if not _is_small(lost + gained, samples):
        return _normal_tail(-float(_score(np.array(lost), np.array(gained), samples, max_drop)))
    rates = _change_rate_bounds(lost + gained, samples, BOOS * alpha)
    return min(1.0, _exact(lost, gained, samples, max_drop, *rates) + BOOS * alpha)


def drop_bounds(
    lost: int, gained: int, samples: int, alpha: float = ALPHA, *, accuracy: float = 1e-7
) -> tuple[float, float]:
    """One-sided lower and upper bounds of the drop at 1 − `alpha`, as fractions (−1 … 1), `accuracy` wide of exact."""
    if samples == 0:
        return -1.0, 1.0
    high = _upper(lost, gained, samples, alpha, accuracy)
    return (-high if lost == gained else -_upper(gained, lost, samples, alpha, accuracy)), high


def fewest_samples(max_drop: float, alpha: float = ALPHA) -> int:
    """The smallest number of samples that can show a drop of at most `max_drop`: that without any change."""
    size = math.ceil(math.log(alpha) / math.log1p(-max_drop)) if max_drop < 1 else 1
    while p_within(0, 0, size, max_drop, alpha) > alpha:
        size += max(1, size // 200)
    return size


def samples_to_decide(lost: int, gained: int, samples: int, max_drop: float, alpha: float = ALPHA) -> int | None:
    """How many samples would decide whether the drop is above `max_drop` if answers kept changing at this rate.

    None when a hundred million would not: the observed drop stands on the bound.
    """

    def decides(lost: float, gained: float, size: int) -> bool:
        # the score is quick and close to the exact p-values, which have the last word
        if abs(float(_score(np.array(lost), np.array(gained), size, max_drop))) < NEAR * _quantile(alpha):
            return False
        counts = round(lost), round(gained), size
        return min(p_within(*counts, max_drop, alpha), p_above(*counts, max_drop, alpha)) <= alpha

    return first_size(lost, gained, samples, decides)


def first_size(lost: int, gained: int, samples: int, decides: Callable[[float, float, int], bool]) -> int | None:
    """The first size, in steps of 2 %, to which the counts can grow in proportion so that they decide; None: never."""
    size = max(samples, 1)
    while size <= 10**8:
        scale = size / max(samples, 1)
        if decides(lost * scale, gained * scale, size):
            return size
        size = math.ceil(size * 1.02)
    return None


def score_bound(lost: float, gained: float, samples: int, alpha: float = ALPHA) -> float:
    """Tango's one-sided upper score bound of the drop, at 1 − `alpha`."""
    observed, least = (lost - gained) / samples, -_quantile(alpha)
    return _largest(lambda drop: float(_score(np.array(lost), np.array(gained), samples, drop)) > least, observed)


def _quantile(alpha: float) -> float:
    """The 1 − `alpha` quantile of the normal distribution."""
    return NormalDist().inv_cdf(1 - alpha)


def _upper(lost: int, gained: int, samples: int, alpha: float, accuracy: float) -> float:
    near = score_bound(lost, gained, samples, alpha)
    if not _is_small(lost + gained, samples):
        return near
    observed, limit = (lost - gained) / samples, (1 - BOOS) * alpha
    rates = _change_rate_bounds(lost + gained, samples, BOOS * alpha)
    # the exact bound lies close to the score bound, and p-values far from it are the costly ones
    stop = min(1.0, near + 0.25 * (near - observed) + 2 / samples)
    return _largest(lambda drop: _exact(lost, gained, samples, drop, *rates) > limit, observed, stop, accuracy)


def _is_small(changes: int, samples: int) -> bool:
    return samples <= EXACT_SAMPLES and changes <= EXACT_CHANGES


def _largest(holds: Callable[[float], bool], start: float, stop: float = 1.0, accuracy: float = 1e-7) -> float:
    """The largest drop from `start` on for which `holds`, which is true at the start, found by bisection."""
    if stop < 1 and holds(stop):
        return _largest(holds, stop, accuracy=accuracy)
    low, high = start, stop
    while high - low > accuracy:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return high


def _score(lost: Array, gained: Array, samples: int, drop: float) -> Array:
    """Tango's score statistic for the hypothesis that the true drop is `drop`."""
    b = -lost - gained + (2 * samples - lost + gained) * drop
    c = -gained * drop * (1 - drop)
    gain_rate = (np.sqrt(np.maximum(b * b - 8 * samples * c, 0)) - b) / (4 * samples)
    variance = samples * np.maximum(2 * gain_rate + drop * (1 - drop), 1e-300)
    return np.asarray((lost - gained - samples * drop) / np.sqrt(variance))


def _normal_tail(score: float) -> float:
    return 0.5 * math.erfc(score / math.sqrt(2))


def _exact(lost: int, gained: int, samples: int, drop: float, low: float, high: float) -> float:
    """Exact probability of an outcome at least as favourable, at the worst change rate its own interval allows."""
    # a drop that is more than answers change leaves one rate
    rates = np.unique(np.linspace(max(low, abs(drop)), max(high, abs(drop)), 25))
    most = min(samples, int(samples * rates[-1] + 8 * math.sqrt(samples * rates[-1]) + 12))
    b, c = np.meshgrid(np.arange(most + 1), np.arange(most + 1), indexing="ij")
    possible = b + c <= min(most, samples)
    b, c = b[possible], c[possible]
    observed = float(_score(np.array(lost), np.array(gained), samples, drop))
    other = _score(b, c, samples, drop) > observed + 1e-9
    return 1 - float(_trinomial(b[other], c[other], samples, rates, drop).min())


def _trinomial(b: Array, c: Array, samples: int, rates: Array, drop: float | Array) -> Array:
    """Total probability of the outcomes (lost b, gained c) for each rate at which answers change, shape (rates,)."""
    factorial = log_factorials(samples)
    counts = b[:, None], c[:, None], (samples - b - c)[:, None]
    log_ways = factorial[samples] - factorial[b] - factorial[c] - factorial[samples - b - c]
    chances = np.stack([(rates + drop) / 2, (rates - drop) / 2, 1 - rates])
    # the probability of what is impossible is nothing, and the logarithm of so little still a number
    logs = np.log(np.maximum(chances, 1e-300))
    pieces = np.array_split(logs, min(len(rates), 1 + b.size * len(rates) // _CELLS), axis=1)
    # sums of three, as a matrix product would start threads for so little
    sums = (log_ways[:, None] + sum(n * log for n, log in zip(counts, piece, strict=True)) for piece in pieces)
    return np.concatenate([np.exp(each).sum(axis=0) for each in sums])


@functools.lru_cache(maxsize=8)
def log_factorials(n: int) -> Array:
    """log 0! … log n!"""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])


def _change_rate_bounds(changes: int, samples: int, beta: float) -> tuple[float, float]:
    """Clopper–Pearson interval at 1 − `beta` for the rate at which answers change."""
    return lower_rate(changes, samples, beta / 2), upper_rate(changes, samples, beta / 2)


def upper_rate(events: int, samples: int, alpha: float = ALPHA) -> float:
    """Clopper–Pearson one-sided upper bound, at 1 − `alpha`, of the probability of an event."""
    if events >= samples:
        return 1.0
    return _largest(lambda rate: _binomial_cdf(events, samples, rate) > alpha, events / samples)


def lower_rate(events: int, samples: int, alpha: float = ALPHA) -> float:
    """Clopper–Pearson one-sided lower bound, at 1 − `alpha`, of the probability of an event."""
    return 1 - upper_rate(samples - events, samples, alpha)


def _binomial_cdf(events: int, samples: int, rate: float) -> float:
    """Probability of at most `events`."""
    counts, rates = np.arange(events + 1), np.array([rate])
    return min(1.0, float(_trinomial(counts, np.zeros_like(counts), samples, rates, rates)[0]))
