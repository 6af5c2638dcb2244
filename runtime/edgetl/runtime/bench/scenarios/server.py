"""Server: queries of one sample arrive at random (Poisson); the highest rate whose p99 stays under a bound.

Queueing: one queue, first come first served, as many callers as asked for; no query is dropped, and none is joined
with another to a batch. A latency counts from the scheduled arrival, so waiting for a free caller is in it.
"""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np

from edgetl.runtime.bench.inputs import Ask
from edgetl.runtime.bench.noise import NoiseWatch
from edgetl.runtime.bench.options import BenchOptions
from edgetl.runtime.bench.percentiles import LEAST, Summary, summarise
from edgetl.runtime.bench.rates import highest_rate
from edgetl.runtime.bench.results import Server, Trial
from edgetl.runtime.bench.scenarios import Setup
from edgetl.runtime.throughput import Load, closed_loop
from edgetl.types import Array

QUEUEING = "one queue, first come first served"
LATE = 0.01
"""A rate holds when no more than this share of its queries is answered after the bound: its p99 is within it."""

DRAWS = 2
"""A rate must hold under so many draws of arrivals, as one can be lucky."""

LONG = 20
"""A trial takes at least so many times the bound: a queue that outgrows its callers by 5 % then shows."""

CAPACITY_SECONDS = 0.5


def measure(ask: Ask, setup: Setup) -> tuple[Server, Array]:
    """The rate, and ms of each query at it, shape (queries,); empty where no rate held."""
    options = setup.options
    warmup = setup.warm_up(ask)
    watch = NoiseWatch(setup.root)
    load = Load(concurrency=options.concurrency, min_seconds=CAPACITY_SECONDS, max_seconds=options.max_seconds)
    capacity = closed_loop(ask, load)[0].per_second
    trials: list[Trial] = []
    latencies: dict[float, list[Array]] = {}

    def holds(rate: float) -> bool:
        for draw in range(DRAWS):
            tried, answered = trial(ask, rate, draw, options)
            trials.append(tried)
            latencies.setdefault(rate, []).append(answered)
            if not tried.held:
                return False
        return True

    found = highest_rate(holds, capacity)
    samples = np.concatenate(latencies[found.passing]) if found.passing is not None else np.zeros(0)
    summary = summarise(samples) if len(samples) else Summary(values={}, bounds={})
    result = Server(
        per_second=found.passing,
        failing_per_second=found.failing,
        bound_ms=options.bound_ms,
        p50_ms=summary.values.get("p50"),
        p99_ms=summary.values.get("p99"),
        samples=len(samples),
        concurrency=options.concurrency,
        queueing=QUEUEING,
        trials=tuple(trials),
        bounds_ms=summary.bounds,
        reason=found.reason,
        warmup=warmup,
        noise=watch.stop(),
    )
    return result, samples


def trial(
    ask: Ask,
    rate: float,
    draw: int,
    options: BenchOptions,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Trial, Array]:
    """Whether `rate` a second holds under that draw of arrivals, and ms of each query, shape (queries,)."""
    size = queries_of(rate, options)
    allowed = math.floor(LATE * size)
    due = arrivals(rate, size, draw)
    answered = serve(ask, due, options.concurrency, options.bound_ms, allowed, clock, sleep)
    late = int(np.sum(answered > options.bound_ms))
    return Trial(per_second=rate, queries=len(answered), late=late, held=late <= allowed), answered


def queries_of(rate: float, options: BenchOptions) -> int:
    """How many queries a trial at `rate` a second takes.

    Below a hundred, as on a slow device, none may be late.
    """
    long = math.ceil(rate * max(options.min_seconds, LONG * options.bound_ms / 1000))
    return max(LEAST, long, min(options.trial_queries, math.ceil(rate * options.max_seconds)))


def arrivals(rate: float, size: int, draw: int) -> Array:
    """Seconds at which `size` queries arrive.

    Two rates of the same `draw` share their random numbers, stretched, so that they differ by the rate alone.
    """
    return np.asarray(np.cumsum(np.random.default_rng(draw).exponential(size=size)) / rate)


def serve(
    ask: Ask,
    due: Array,
    callers: int,
    bound_ms: float,
    allowed: int,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Array:
    """Milliseconds from each scheduled arrival (`due`, in seconds) to its answer, in the order of arrival.

    Ends early, with fewer queries, when more than `allowed` were later than `bound_ms`.
    """
    milliseconds = np.full(len(due), np.nan)
    numbers, late, counting = count(), 0, threading.Lock()
    began = clock()

    def caller(_: int) -> None:
        nonlocal late
        # whoever is free takes the next arrival, and waits for it if it is yet to come
        while late <= allowed and (number := next(numbers)) < len(due):
            scheduled = began + float(due[number])
            if (early := scheduled - clock()) > 0:
                sleep(early)
            ask(number)
            milliseconds[number] = 1000 * (clock() - scheduled)
            with counting:
                late += bool(milliseconds[number] > bound_ms)

    with ThreadPoolExecutor(callers) as pool:
        # list(): the first exception of a caller is raised here
        list(pool.map(caller, range(callers)))
    return np.asarray(milliseconds[~np.isnan(milliseconds)])
