"""Finds the highest rate that holds: one that does and one that does not, close together."""

import math
from collections.abc import Callable

import msgspec

APART = 1.05
"""The failing rate is at most so many times the passing one."""

START = 0.7
"""The first rate is this share of what callers without pause get; random arrivals never reach all of it."""

UP, DOWN = 1.25, 2.0
CEILING = 2.0
FLOOR = 1 / 64
"""Rates outside these shares of the capacity are not tried."""


class Bracket(msgspec.Struct, frozen=True, kw_only=True):
    """The highest rate known to hold and the lowest known not to; `reason` where one of them was not found."""

    passing: float | None
    failing: float | None
    reason: str = ""


def highest_rate(holds: Callable[[float], bool], capacity: float) -> Bracket:
    """Searches from `START` of `capacity`, queries a second, outwards until bracketed, then by bisection of the log."""
    passing: float | None = None
    failing: float | None = None
    rate = START * capacity
    while True:
        if holds(rate):
            passing = rate
        else:
            failing = rate
        if passing is None:
            rate /= DOWN
            if rate < FLOOR * capacity:
                return Bracket(passing=None, failing=failing, reason=f"no rate from {failing:.2g} on holds")
        elif failing is None:
            rate *= UP
            if rate > CEILING * capacity:
                return Bracket(passing=passing, failing=None, reason="all rates tried hold; the bound is loose")
        elif failing <= APART * passing:
            return Bracket(passing=passing, failing=failing)
        else:
            rate = math.sqrt(passing * failing)
