"""How fast a session is: single-stream latency and offline throughput, after MLPerf LoadGen's definitions.

Timed is the engine call alone (`Session.infer`): arrays in, arrays out, no decoding.
Reference: Reddi et al., "MLPerf Inference Benchmark", ISCA 2020.
"""

import time
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from edgetl.bundle import Bundle
from edgetl.runtime.session import Session, sample_feeds
from edgetl.runtime.throughput import Load, throughput
from edgetl.runtime.timing import percentile_interval
from edgetl.types import Array, EngineFacts, Feeds

BLOCK = 20
"""Neighbouring queries are alike, so bounds count blocks of this many."""

INPUTS = 64
"""So many different samples take turns, so that no cache holds the one input."""


class BenchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario ends when both its time and its count are reached, or at `max_seconds`."""

    warmup_queries: int = 20
    min_seconds: float = 2.0
    min_queries: int = 200
    max_seconds: float = 30.0
    offline_batch: int = 16
    offline_concurrency: int = 1


class SingleStream(msgspec.Struct, frozen=True, kw_only=True):
    """One query of one sample after the other; milliseconds per query. p99 is None below 100 queries.

    `bounds_ms`: for p50, p90 and p99 the distribution-free bounds of this process, each one-sided at 95 %; empty
    for a few queries. Another launch may lie outside: `gate` measures several.
    """

    p50_ms: float
    p90_ms: float
    p99_ms: float | None
    samples: int
    bounds_ms: dict[str, tuple[float, float | None]] = {}


class Offline(msgspec.Struct, frozen=True, kw_only=True):
    """All samples at hand, sent in batches by so many callers at once; samples per second.

    `bounds_per_second`: one-sided at 95 %; None for a few batches.
    """

    per_second: float
    samples: int
    batch: int
    concurrency: int = 1
    bounds_per_second: tuple[float, float] | None = None


class Scenarios(msgspec.Struct, frozen=True, kw_only=True, rename={"single_stream": "single-stream"}):
    single_stream: SingleStream
    offline: Offline


class VariantBench(msgspec.Struct, frozen=True, kw_only=True):
    """One variant's speed and what ran."""

    id: str
    scenarios: Scenarios
    facts: EngineFacts


def bench(session: Session, options: BenchOptions) -> VariantBench:
    """Both scenarios of one session."""
    scenarios = Scenarios(single_stream=single_stream(session, options), offline=offline(session, options))
    return VariantBench(id=session.variant.id, scenarios=scenarios, facts=session.facts)


def single_queries(bundle: Bundle) -> list[Feeds]:
    """`INPUTS` queries of one sample each."""
    feeds = sample_feeds(bundle, INPUTS)
    return [{name: array[i : i + 1] for name, array in feeds.items()} for i in range(INPUTS)]


def single_stream(session: Session, options: BenchOptions) -> SingleStream:
    """Latency of one-sample queries, each on another input."""
    queries = single_queries(session.bundle)
    milliseconds = np.array([1000 * seconds for seconds in _timed(session, queries, options)])
    p50, p90, p99 = np.percentile(milliseconds, [50, 90, 99])
    return SingleStream(
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99) if len(milliseconds) >= 100 else None,
        samples=len(milliseconds),
        bounds_ms=_bounds(milliseconds),
    )


def _bounds(milliseconds: Array) -> dict[str, tuple[float, float | None]]:
    """Bounds of the percentiles, from blocks of consecutive queries."""
    blocks = len(milliseconds) // BLOCK
    if blocks < 2:
        return {}
    times = milliseconds[: blocks * BLOCK].reshape(1, blocks, BLOCK)
    found = {name: percentile_interval(times, q) for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))}
    return {name: (each.low, each.high) for name, each in found.items()}


def offline(session: Session, options: BenchOptions) -> Offline:
    """Throughput of full batches."""
    load = Load(
        batch=options.offline_batch,
        concurrency=options.offline_concurrency,
        min_seconds=options.min_seconds,
        max_seconds=options.max_seconds,
    )
    found = throughput(session, load)
    return Offline(
        per_second=found.per_second,
        samples=found.samples,
        batch=load.batch,
        concurrency=load.concurrency,
        bounds_per_second=None if found.low is None or found.high is None else (found.low, found.high),
    )


def _timed(session: Session, queries: Sequence[Feeds], options: BenchOptions) -> Iterator[float]:
    """Seconds of each query, the warm-up left out."""
    for i in range(options.warmup_queries):
        session.infer(queries[i % len(queries)])
    began = time.perf_counter()
    count = 0
    while True:
        start = time.perf_counter()
        session.infer(queries[count % len(queries)])
        end = time.perf_counter()
        count += 1
        yield end - start
        enough = end - began >= options.min_seconds and count >= options.min_queries
        if enough or end - began >= options.max_seconds:
            return
