"""Single-stream: one query of one sample; the next one when it is answered. LoadGen reports its p90."""

import time
from collections.abc import Callable

import numpy as np

from edgetl.runtime.bench.inputs import Ask
from edgetl.runtime.bench.noise import NoiseWatch
from edgetl.runtime.bench.options import BenchOptions
from edgetl.runtime.bench.percentiles import LEAST, summarise
from edgetl.runtime.bench.results import SingleStream
from edgetl.runtime.bench.scenarios import Setup
from edgetl.types import Array


def measure(ask: Ask, setup: Setup) -> tuple[SingleStream, Array]:
    """The percentiles, and ms of each query, shape (queries,)."""
    warmup = setup.warm_up(ask)
    watch = NoiseWatch(setup.root)
    milliseconds = times(ask, setup.options)
    found = summarise(milliseconds)
    result = SingleStream(
        p50_ms=found.p50,
        p90_ms=found.values["p90"],
        p99_ms=found.values["p99"],
        samples=len(milliseconds),
        bounds_ms=found.bounds,
        warmup=warmup,
        noise=watch.stop(),
    )
    return result, milliseconds


def times(ask: Ask, options: BenchOptions, clock: Callable[[], float] = time.perf_counter) -> Array:
    """Milliseconds of one query after the other, until there is enough; at least `LEAST`, whatever the time."""
    found: list[float] = []
    began = clock()
    while True:
        start = clock()
        ask(len(found))
        end = clock()
        found.append(1000 * (end - start))
        enough = end - began >= options.min_seconds and len(found) >= options.min_queries
        if len(found) >= LEAST and (enough or end - began >= options.max_seconds):
            return np.array(found)
