"""Multi-stream: one query of eight samples, all at once; the next one when it is answered. LoadGen reports its p99.

So LoadGen defines it since its version 2; before, and in the paper, queries came at a fixed interval.
"""

from edgetl.runtime.bench.inputs import Ask
from edgetl.runtime.bench.noise import NoiseWatch
from edgetl.runtime.bench.percentiles import summarise
from edgetl.runtime.bench.results import MultiStream
from edgetl.runtime.bench.scenarios import Setup
from edgetl.runtime.bench.scenarios.single_stream import times
from edgetl.types import Array


def measure(ask: Ask, setup: Setup) -> tuple[MultiStream, Array]:
    """The percentiles, and ms of each query of several samples, shape (queries,)."""
    warmup = setup.warm_up(ask)
    watch = NoiseWatch(setup.root)
    milliseconds = times(ask, setup.options)
    found = summarise(milliseconds)
    result = MultiStream(
        p50_ms=found.p50,
        p90_ms=found.values["p90"],
        p99_ms=found.values["p99"],
        queries=len(milliseconds),
        samples_per_query=setup.options.samples_per_query,
        bounds_ms=found.bounds,
        warmup=warmup,
        noise=watch.stop(),
    )
    return result, milliseconds
