"""Chooses between ways of quantising by their speed, measured in turns on the machine that exports."""

from collections.abc import Callable, Sequence

import numpy as np

from edgetl.manifest import Way
from edgetl.runtime.engines import Engine
from edgetl.runtime.interleave import interleave
from edgetl.tasks.inputs import Inputs

SAMPLES, BLOCKS, QUERIES, WARMUP = 32, 12, 8, 4

CLEARLY = 0.9
"""A way that takes more than this share of the plain one's time is not worth leaving it: the choice stays the same
however busy the machine is.
"""


def relative_times(engines: Sequence[Engine], inputs: Inputs) -> list[float]:
    """The median latency of single samples, over that of the first engine."""
    queries = list(inputs.first(SAMPLES).batches(1))

    def ask(engine: Engine) -> Callable[[int], object]:
        return lambda number: engine.run(queries[number % len(queries)])

    times = interleave([ask(engine) for engine in engines], blocks=BLOCKS, queries=QUERIES, warmup=WARMUP)
    medians = np.median(times, axis=(1, 2))
    return [float(median / medians[0]) for median in medians]


def quickest(ways: Sequence[Way]) -> Way:
    """The fastest way, but the first unless another is clearly faster."""
    best = min(ways, key=lambda way: way.time)
    return best if best.time <= CLEARLY * ways[0].time else ways[0]
