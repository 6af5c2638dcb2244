"""The percentiles of one process's query times, each with distribution-free bounds, or not at all."""

import msgspec
import numpy as np

from edgetl.runtime.timing import percentile_interval
from edgetl.types import Array

BLOCK = 20
"""Neighbouring queries are alike, so bounds count blocks of this many; fewer queries make shorter blocks."""

BLOCKS = 10

LEAST = 8
"""So many queries have bounds for their median; fewer are not summarised."""

NAMES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Values and bounds by name, p50, p90, p99, in ms. A value is None without a finite upper bound, save the median.

    Independent queries need 5, 29 and 299 for p50, p90 and p99; what blocks show of dependence asks for more.
    """

    values: dict[str, float | None]
    bounds: dict[str, tuple[float, float | None]]

    @property
    def p50(self) -> float:
        """The median, which is always there."""
        value = self.values["p50"]
        assert value is not None
        return value


def summarise(milliseconds: Array) -> Summary:
    """Percentiles of at least two query times in ms, shape (queries,), in the order they were measured."""
    size = max(1, min(BLOCK, len(milliseconds) // BLOCKS))
    blocks = len(milliseconds) // size
    times = milliseconds[: blocks * size].reshape(1, blocks, size)
    found = {name: percentile_interval(times, q) for name, q in NAMES.items()}
    finite = {name for name, each in found.items() if each.high is not None or name == "p50"}
    values = {name: float(np.quantile(milliseconds, q)) if name in finite else None for name, q in NAMES.items()}
    return Summary(
        values=values, bounds={name: (found[name].low, found[name].high) for name in NAMES if name in finite}
    )
