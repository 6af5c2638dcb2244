"""What a bench found, as `--json` prints it. Times in ms, bounds one-sided at 95 %."""

import msgspec

from edgetl.runtime.bench.coldstart import ColdStart
from edgetl.runtime.bench.noise import Noise
from edgetl.runtime.bench.options import Timed
from edgetl.runtime.bench.warmup import WarmUp
from edgetl.types import EngineFacts

Bounds = tuple[float, float | None]


class SingleStream(msgspec.Struct, frozen=True, kw_only=True):
    """One query of one sample after the other; milliseconds per query.

    p90 and p99 are None when there are too few queries for a finite upper bound. `bounds_ms`: for the percentiles
    that are given, the distribution-free bounds of this process. Another launch may lie outside: `gate` and
    `--compare` measure several.
    """

    p50_ms: float
    p90_ms: float | None
    p99_ms: float | None
    samples: int
    bounds_ms: dict[str, Bounds] = {}
    warmup: WarmUp | None = None
    noise: Noise | None = None


class MultiStream(msgspec.Struct, frozen=True, kw_only=True):
    """As single-stream, with `samples_per_query` samples in each query; milliseconds per query, not per sample."""

    p50_ms: float
    p90_ms: float | None
    p99_ms: float | None
    queries: int
    samples_per_query: int
    bounds_ms: dict[str, Bounds] = {}
    warmup: WarmUp | None = None
    noise: Noise | None = None


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine's own meters say of a run: everything they feed, idle power included. `source`: which ones."""

    joules_per_sample: float
    watts: float
    source: str


class Offline(msgspec.Struct, frozen=True, kw_only=True):
    """All samples at hand, sent in batches by so many callers at once; samples per second.

    `bounds_per_second`: None for a few batches. `energy`: None where nothing here measures it.
    """

    per_second: float
    samples: int
    batch: int
    concurrency: int = 1
    bounds_per_second: tuple[float, float] | None = None
    energy: Energy | None = None
    warmup: WarmUp | None = None
    noise: Noise | None = None


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """Queries at one rate: how many were answered later than the bound. A trial that cannot hold any more is ended."""

    per_second: float
    queries: int
    late: int
    held: bool


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """The highest rate of Poisson arrivals whose p99, from the scheduled arrival on, stays under `bound_ms`.

    `per_second` held, `failing_per_second` did not; None where no such rate was found, and `reason` says why.
    `p99_ms` is that of the rate that held.
    """

    per_second: float | None
    failing_per_second: float | None
    bound_ms: float
    p50_ms: float | None
    p99_ms: float | None
    samples: int
    concurrency: int
    queueing: str
    trials: tuple[Trial, ...]
    bounds_ms: dict[str, Bounds] = {}
    reason: str = ""
    warmup: WarmUp | None = None
    noise: Noise | None = None


class Scenarios(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={"single_stream": "single-stream", "multi_stream": "multi-stream", "cold_start": "cold-start"},
):
    """The scenarios that were asked for."""

    single_stream: SingleStream | None = None
    multi_stream: MultiStream | None = None
    offline: Offline | None = None
    server: Server | None = None
    cold_start: ColdStart | None = None


class VariantBench(msgspec.Struct, frozen=True, kw_only=True):
    """One variant's speed and what ran.

    `scenarios` is of `timed`, `further` of whatever else was to be timed. `inputs`: what the queries were made of.
    `notes`: what could not be measured, and why.
    """

    id: str
    scenarios: Scenarios
    facts: EngineFacts
    timed: Timed = "engine"
    further: dict[Timed, Scenarios] = {}
    inputs: str = ""
    notes: tuple[str, ...] = ()
