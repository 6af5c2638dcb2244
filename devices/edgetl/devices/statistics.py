"""The drop of an accuracy measured on the same samples: p-values and bounds, exact where counts are small.

A sample is *lost* when only the reference was right, *gained* when only the variant was; the drop is the
difference of the two probabilities. Bounds are one-sided at 95 %.

References: Tango, "Equivalence test and confidence interval for the difference in proportions for the
paired-sample design", Statistics in Medicine 17 (1998); Berger & Boos, "P values maximized over a confidence
set for the nuisance parameter", JASA 89 (1994).
"""

import functools
import math
from collections.abc import Callable

import numpy as np

from edgetl.types import Array

ALPHA = 0.05
EXACT_SAMPLES = 20_000
EXACT_CHANGES = 200
"""Up to so many samples and changed answers p-values are exact; above, the score test is accurate enough."""

_BOOS = 1e-4
_SCORE = 1.6448536269514722
"""The 95 % quantile of the normal distribution."""


def p_above(lost: int, gained: int, samples: int, max_drop: float) -> float:
    """p-value of "the true drop is at most `max_drop`": small when the drop is clearly above it."""
    return p_within(gained, lost, samples, -max_drop)


def p_within(lost: int, gained: int, samples: int, max_drop: float) -> float:
    """p-value of "the true drop is at least `max_drop`": small when the drop is clearly below it."""
    if samples == 0:
        return 1.0
    if not _is_small(lost + gained, samples):
        return _normal_tail(-float(_score(np.array(lost), np.array(gained), samples, max_drop)))
    return min(1.0, _exact(lost, gained, samples, max_drop, *_change_rate_bounds(lost + gained, samples)))


def drop_bounds(lost: int, gained: int, samples: int) -> tuple[float, float]:
    """One-sided 95 % lower and upper bounds of the drop, as fractions (−1 … 1)."""
    if samples == 0:
        return -1.0, 1.0
    return -_upper(gained, lost, samples), _upper(lost, gained, samples)


def fewest_samples(max_drop: float) -> int:
    """The smallest number of samples that can show a drop of at most `max_drop`: that without any change."""
    size = math.ceil(math.log(ALPHA) / math.log1p(-max_drop)) if max_drop < 1 else 1
    while p_within(0, 0, size, max_drop) > ALPHA:
        size += max(1, size // 200)
    return size


def samples_to_decide(lost: int, gained: int, samples: int, max_drop: float) -> int | None:
    """How many samples would decide whether the drop is above `max_drop` if answers kept changing at this rate.

    None when a hundred million would not: the observed drop stands on the bound.
    """

    def decides(lost: float, gained: float, size: int) -> bool:
        # the score is quick and a little bolder than the exact p-values, which have the last word
        if abs(float(_score(np.array(lost), np.array(gained), size, max_drop))) < _SCORE:
            return False
        counts = round(lost), round(gained), size
        return min(p_within(*counts, max_drop), p_above(*counts, max_drop)) <= ALPHA

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


def score_bound(lost: float, gained: float, samples: int) -> float:
    """Tango's one-sided 95 % upper score bound of the drop."""
    observed = (lost - gained) / samples
    return _largest(lambda drop: float(_score(np.array(lost), np.array(gained), samples, drop)) > -_SCORE, observed)


def _upper(lost: int, gained: int, samples: int) -> float:
    near = score_bound(lost, gained, samples)
    if not _is_small(lost + gained, samples):
        return near
    observed = (lost - gained) / samples
    rates = _change_rate_bounds(lost + gained, samples)
    # the exact bound lies close to the score bound, and p-values far from it are the costly ones
    stop = min(1.0, near + 0.25 * (near - observed) + 2 / samples)
    return _largest(lambda drop: _exact(lost, gained, samples, drop, *rates) > ALPHA, observed, stop)


def _is_small(changes: int, samples: int) -> bool:
    return samples <= EXACT_SAMPLES and changes <= EXACT_CHANGES


def _largest(holds: Callable[[float], bool], start: float, stop: float = 1.0) -> float:
    """The largest drop from `start` on for which `holds`, which is true at the start, found by bisection."""
    if stop < 1 and holds(stop):
        return _largest(holds, stop)
    low, high = start, stop
    while high - low > 1e-7:
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
    rates = np.linspace(max(low, abs(drop)), max(high, abs(drop)), 25)
    most = min(samples, int(samples * rates[-1] + 8 * math.sqrt(samples * rates[-1]) + 12))
    b, c = np.meshgrid(np.arange(most + 1), np.arange(most + 1), indexing="ij")
    possible = b + c <= min(most, samples)
    b, c = b[possible], c[possible]
    observed = float(_score(np.array(lost), np.array(gained), samples, drop))
    extreme = _score(b, c, samples, drop) <= observed + 1e-9
    tails = [1 - _trinomial(b[~extreme], c[~extreme], samples, rate, drop) for rate in rates]
    return max(tails) + _BOOS


def _trinomial(b: Array, c: Array, samples: int, rate: float, drop: float) -> float:
    """Total probability of the outcomes (lost b, gained c) when answers change at `rate`."""
    factorial = log_factorials(samples)
    lost, gained, same = (rate + drop) / 2, (rate - drop) / 2, 1 - rate
    log_p = factorial[samples] - factorial[b] - factorial[c] - factorial[samples - b - c]
    log_p = log_p + _times_log(b, lost) + _times_log(c, gained) + _times_log(samples - b - c, same)
    return float(np.exp(log_p).sum())


def _times_log(count: Array, probability: float) -> Array:
    return count * math.log(probability) if probability > 0 else np.where(count == 0, 0.0, -np.inf)


@functools.lru_cache(maxsize=8)
def log_factorials(n: int) -> Array:
    """log 0! … log n!"""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])


def _change_rate_bounds(changes: int, samples: int) -> tuple[float, float]:
    """Clopper–Pearson interval at 1 − _BOOS for the rate at which answers change."""
    return lower_rate(changes, samples, _BOOS / 2), upper_rate(changes, samples, _BOOS / 2)


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
    counts = np.arange(events + 1)
    return min(1.0, _trinomial(counts, np.zeros_like(counts), samples, rate, rate))
