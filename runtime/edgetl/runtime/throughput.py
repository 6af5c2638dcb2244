"""Offline throughput: many samples at hand, several callers with a batch each, samples a second with an interval.

Reference: Reddi et al., "MLPerf Inference Benchmark", ISCA 2020, the offline scenario.
"""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import msgspec
import numpy as np

from edgetl.bundle import Bundle
from edgetl.runtime.session import Session, sample_feeds
from edgetl.runtime.timing import ALPHA, t_quantile
from edgetl.types import Array, Feeds

BLOCKS = 10
"""Neighbouring batches are alike, so the bounds count so many stretches of them."""

INPUTS = 64
"""At least so many different samples take turns, so that no cache holds the one input."""

WARMUP = 2
EACH = 8
"""So many batches of every caller at least: at the end all but one wait for the last batch, which must not count."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How many callers send batches of which size, and for how long."""

    batch: Annotated[int, msgspec.Meta(ge=1)] = 1
    concurrency: Annotated[int, msgspec.Meta(ge=1)] = 1
    min_seconds: float = 2.0
    max_seconds: float = 30.0


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """Samples per second with one-sided 95 % bounds, which are None for a few batches."""

    per_second: float
    samples: int
    low: float | None
    high: float | None


def batches(bundle: Bundle, size: int) -> list[Feeds]:
    """Batches of `size` samples, at least two and of `INPUTS` samples together."""
    count = max(2, math.ceil(INPUTS / size))
    feeds, take = sample_feeds(bundle, count * size), bundle.manifest.task.take
    return [take(feeds, np.arange(i * size, (i + 1) * size)) for i in range(count)]


def throughput(
    session: Session,
    load: Load,
    queries: Sequence[Feeds] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Throughput:
    """What `load.concurrency` threads get out of the engine of `session` together.

    `queries`: the batches, if they are at hand already; `clock` counts seconds. Raises EngineError.
    """
    feeds = batches(session.bundle, load.batch) if queries is None else queries
    return closed_loop(lambda number: session.infer(feeds[number % len(feeds)]), load, clock)[0]


def closed_loop(
    ask: Callable[[int], object], load: Load, clock: Callable[[], float] = time.perf_counter
) -> tuple[Throughput, Array]:
    """What `load.concurrency` threads get out of `ask`, which answers the batch of that number; each waits, then asks.

    All batches that were begun count, and time ends with the last of them. Also the sorted seconds at which batches
    were done, shape (batches,). `clock` counts seconds.
    """
    with ThreadPoolExecutor(load.concurrency) as callers:

        def together(work: Callable[[int], object]) -> None:
            # list(): the first exception of a caller is raised here
            list(callers.map(work, range(load.concurrency)))

        together(lambda caller: [ask(caller + i) for i in range(WARMUP)])
        ends: list[float] = []
        began = clock()

        def call(caller: int) -> None:
            number = caller
            while not _enough(ends, clock() - began, load):
                ask(number)
                ends.append(clock())
                number += load.concurrency

        together(call)
    done = np.sort(np.array(ends)) - began
    return _summary(done, load), done


def _enough(ends: Sequence[float], seconds: float, load: Load) -> bool:
    """The least time and the least count are reached, or the most time is; no caller stays without a batch."""
    if len(ends) >= EACH * load.concurrency:
        return seconds >= min(load.min_seconds, load.max_seconds)
    return len(ends) >= load.concurrency and seconds >= load.max_seconds


def _summary(ends: Array, load: Load) -> Throughput:
    """From the sorted seconds at which batches were done. Bounds: Student's t over stretches of equal count."""
    value = load.batch * len(ends) / float(ends[-1])
    low = high = None
    each = len(ends) // BLOCKS
    if each >= load.concurrency:
        marks = np.concatenate([[0.0], ends[each - 1 :: each]])[: BLOCKS + 1]
        times = np.diff(marks)
        width = t_quantile(1 - ALPHA, BLOCKS - 1) * float(times.std(ddof=1)) / math.sqrt(BLOCKS) / float(times.mean())
        # relative, so that the bounds hold the value, which all batches count for
        low, high = value / (1 + width), value / max(1 - width, 1e-9)
    return Throughput(per_second=value, samples=load.batch * len(ends), low=low, high=high)
