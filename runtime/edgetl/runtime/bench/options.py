"""What is measured, and for how long."""

from typing import Annotated, Literal

import msgspec

Scenario = Literal["single-stream", "multi-stream", "offline", "server", "cold-start"]
Timed = Literal["engine", "preprocessing", "bytes"]
"""What a query includes: the engine alone, arrays in and out; a decoded image to labels; an encoded one to labels."""

SCENARIOS: tuple[Scenario, ...] = ("single-stream", "multi-stream", "offline", "server", "cold-start")
STAGES: tuple[Timed, ...] = ("engine", "preprocessing", "bytes")

Positive = Annotated[int, msgspec.Meta(ge=1)]


class BenchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario ends when both its time and its count are reached, or at `max_seconds`.

    Warm-up takes at least `warmup_queries` and ends when it is stable, or after `warmup_seconds`. `concurrency`:
    callers at once in offline and server. `bound_ms`: what the server scenario's p99 must stay under; 15 ms is
    MLPerf's for ResNet-50. `trial_queries`: of a rate that is tried there, at least. `cold_starts`: so many fresh
    processes.
    """

    scenarios: tuple[Scenario, ...] = ("single-stream", "offline")
    timed: tuple[Timed, ...] = ("engine",)
    warmup_queries: int = 20
    warmup_seconds: float = 5.0
    min_seconds: float = 2.0
    min_queries: int = 1000
    max_seconds: float = 30.0
    samples_per_query: Positive = 8
    offline_batch: Positive = 16
    concurrency: Positive = 1
    bound_ms: float = 15.0
    trial_queries: Positive = 300
    cold_starts: Positive = 5
