"""Offline: all samples at hand from the start. LoadGen reports samples per second."""

from edgetl.runtime.bench.energy import metered
from edgetl.runtime.bench.inputs import Ask
from edgetl.runtime.bench.noise import NoiseWatch
from edgetl.runtime.bench.results import Energy, Offline
from edgetl.runtime.bench.scenarios import Setup
from edgetl.runtime.throughput import Load, closed_loop
from edgetl.types import Array


def measure(ask: Ask, setup: Setup) -> tuple[Offline, Array]:
    """Throughput of full batches, and after how many ms each batch was done, shape (batches,)."""
    options = setup.options
    load = Load(
        batch=options.offline_batch,
        concurrency=options.concurrency,
        min_seconds=options.min_seconds,
        max_seconds=options.max_seconds,
    )
    warmup = setup.warm_up(ask)
    watch = NoiseWatch(setup.root)
    (found, ends), reading = metered(setup.meters, lambda: closed_loop(ask, load))
    energy = None
    if reading is not None:
        # the callers' own few warm-up batches lie inside the reading, so joules go by its time, not by the count
        energy = Energy(joules_per_sample=reading.watts / found.per_second, watts=reading.watts, source=reading.source)
    result = Offline(
        per_second=found.per_second,
        samples=found.samples,
        batch=load.batch,
        concurrency=load.concurrency,
        bounds_per_second=None if found.low is None or found.high is None else (found.low, found.high),
        energy=energy,
        warmup=warmup,
        noise=watch.stop(),
    )
    return result, 1000 * ends
