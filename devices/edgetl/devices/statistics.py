"""The drop of an accuracy measured on the same samples: its confidence bounds, exact where counts are small.

A sample is *lost* when only the reference was right, *gained* when only the variant was; the drop is the
difference of the two probabilities. Bounds are one-sided at 95 %.

References: Tango, "Equivalence test and confidence interval for the difference in proportions for the
paired-sample design", Statistics in Medicine 17 (1998); Berger & Boos, "P values maximized over a confidence
set for the nuisance parameter", JASA 89 (1994).
"""

import math
from collections.abc import Callable

import numpy as np

from edgetl.types import Array

ALPHA = 0.05
EXACT_SAMPLES = 5000
EXACT_CHANGES = 200
"""Up to so many samples and changed answers the bound is exact; above, the score bound is accurate enough."""

_BOOS = 0.001
_SCORE = 1.6448536269514722
"""The 95 % quantile of the normal distribution."""


def drop_bounds(lost: int, gained: int, samples: int) -> tuple[float, float]:
    """One-sided 95 % lower and upper bounds of the drop, as fractions (−1 … 1)."""
    if samples == 0:
        return -1.0, 1.0
    return -_upper(gained, lost, samples), _upper(lost, gained, samples)


def samples_to_decide(lost: int, gained: int, samples: int, max_drop: float) -> int | None:
    """How many samples would decide whether the drop is above `max_drop` if answers kept changing at this rate.

    None when a hundred million would not: the observed drop stands on the bound.
    """
    size = max(samples, 1)
    while size <= 10**8:
        scale = size / max(samples, 1)
        upper = score_bound(lost * scale, gained * scale, size)
        lower = -score_bound(gained * scale, lost * scale, size)
        if upper <= max_drop or lower > max_drop:
            return size
        size = math.ceil(size * 1.05)
    return None


def score_bound(lost: float, gained: float, samples: int) -> float:
    """Tango's one-sided 95 % upper score bound of the drop."""
    observed = (lost - gained) / samples
    return _largest(lambda drop: float(_score(np.array(lost), np.array(gained), samples, drop)) > -_SCORE, observed)


def _upper(lost: int, gained: int, samples: int) -> float:
    if samples > EXACT_SAMPLES or lost + gained > EXACT_CHANGES:
        return score_bound(lost, gained, samples)
    low, high = _change_rate_bounds(lost + gained, samples)
    observed = (lost - gained) / samples
    return _largest(lambda drop: _p_value(lost, gained, samples, drop, low, high) > ALPHA, observed)


def _largest(holds: Callable[[float], bool], start: float) -> float:
    """The largest drop in [start, 1] for which `holds`, which is true at the start, found by bisection."""
    low, high = start, 1.0
    for _ in range(30):
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


def _p_value(lost: int, gained: int, samples: int, drop: float, low: float, high: float) -> float:
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
    factorial = _log_factorials(samples)
    lost, gained, same = (rate + drop) / 2, (rate - drop) / 2, 1 - rate
    log_p = factorial[samples] - factorial[b] - factorial[c] - factorial[samples - b - c]
    log_p = log_p + _times_log(b, lost) + _times_log(c, gained) + _times_log(samples - b - c, same)
    return float(np.exp(log_p).sum())


def _times_log(count: Array, probability: float) -> Array:
    return count * math.log(probability) if probability > 0 else np.where(count == 0, 0.0, -np.inf)


def _log_factorials(n: int) -> Array:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])


def _change_rate_bounds(changes: int, samples: int) -> tuple[float, float]:
    """Clopper–Pearson interval at 1 − _BOOS for the rate at which answers change."""

    def cdf(rate: float, count: int) -> float:
        counts = np.arange(count + 1)
        return _trinomial(counts, np.zeros_like(counts), samples, rate, rate)

    high = 1.0 if changes == samples else _largest(lambda rate: cdf(rate, changes) > _BOOS / 2, changes / samples)
    if changes == 0:
        return 0.0, high
    low = 1 - _largest(lambda same: 1 - cdf(1 - same, changes - 1) > _BOOS / 2, 1 - changes / samples)
    return low, high
