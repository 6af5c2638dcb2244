"""Deciding about a drop sample by sample: evidence that may be looked at after every one.

Two bets run along, one against "the drop is at least the budget" and one against "at most". A bet that is unfair
only when its hypothesis is false multiplies its stake by 1/α (20 for 5 %) in at most a share of α of all streams,
however long, so that stopping at that moment errs in no more. The stakes are a mixture over a fixed grid, so that all
depends on the counts alone.

References: Ville, "Étude critique de la notion de collectif" (1939); Waudby-Smith & Ramdas, "Estimating means of
bounded random variables by betting", JRSS B 86 (2024).
"""

import math
from collections.abc import Callable

import numpy as np

from edgetl.devices.statistics import ALPHA, first_size
from edgetl.types import Array

_STAKES = np.concatenate([np.geomspace(1e-4, 0.5, 24), 1 - np.geomspace(0.4, 1e-4, 24)])
"""The fraction of its wealth that each bet of the mixture puts at risk on one sample."""


def e_within(lost: int, gained: int, samples: int, max_drop: float) -> float:
    """log of the wealth of the bet against "the true drop is at least `max_drop`"."""
    factors = 1 + _STAKES * max_drop / (1 - max_drop), 1 - _STAKES, 1 + _STAKES * (1 + max_drop) / (1 - max_drop)
    return _wealth(samples - lost - gained, lost, gained, factors)


def e_above(lost: int, gained: int, samples: int, max_drop: float) -> float:
    """log of the wealth of the bet against "the true drop is at most `max_drop`"."""
    return e_within(gained, lost, samples, -max_drop)


def stream_p_within(lost: int, gained: int, samples: int, max_drop: float) -> float:
    """p-value of "the true drop is at least `max_drop`" that holds whenever one looks: what the wealth is one over."""
    return math.exp(min(0.0, -e_within(lost, gained, samples, max_drop)))


def stream_p_above(lost: int, gained: int, samples: int, max_drop: float) -> float:
    """p-value of "the true drop is at most `max_drop`" that holds whenever one looks."""
    return stream_p_within(gained, lost, samples, -max_drop)


def samples_to_stop(lost: int, gained: int, samples: int, max_drop: float, alpha: float = ALPHA) -> int | None:
    """After how many samples a stream would be decided if answers kept changing at this rate; None for never."""

    def decides(lost: float, gained: float, size: int) -> bool:
        counts = round(lost), round(gained), size
        return max(e_within(*counts, max_drop), e_above(*counts, max_drop)) >= -math.log(alpha)

    return first_size(lost, gained, samples, decides)


def _wealth(same: int, lost: int, gained: int, factors: tuple[Array, Array, Array]) -> float:
    logs = same * np.log(factors[0]) + lost * np.log(factors[1]) + gained * np.log(factors[2])
    highest = float(logs.max())
    return highest + math.log(float(np.mean(np.exp(logs - highest))))


def sequential_bounds(lost: int, gained: int, samples: int, alpha: float = ALPHA) -> tuple[float, float]:
    """Lower and upper bound of the drop, each wrong at any moment of the stream in at most `alpha` of streams."""
    limit, observed = -math.log(alpha), (lost - gained) / max(samples, 1)
    high = _first(lambda drop: e_within(lost, gained, samples, drop) >= limit, observed)
    low = -_first(lambda drop: e_within(gained, lost, samples, drop) >= limit, -observed)
    return low, high


def _first(holds: Callable[[float], bool], start: float) -> float:
    """The smallest drop from `start` on for which `holds`; 1 when there is none. By bisection."""
    low, high = max(start, -1 + 1e-9), 1 - 1e-9
    if not holds(high):
        return 1.0
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
