"""What `check` says: a verdict per variant with its numbers and reasons. These structs are the JSON."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from edgetl.types import EngineFacts, Verdict

Layer = Literal["hardware", "engine", "precision", "input", "numerics", "task"]

_SEVERITY: dict[Verdict, int] = {"pass": 0, "skipped": 0, "undecided": 1, "fail": 2}


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a layer said `verdict`; `cause` names the fault when it is known."""

    layer: Layer
    verdict: Verdict
    text: str
    cause: str | None = None


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """Torch's value and the variant's, fractions of 1, on the same samples."""

    name: str
    reference: float
    value: float


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A drop in percentage points with its one-sided 95 % bounds."""

    value: float
    low: float
    high: float


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    p50: float
    p99: float | None


class VariantReport(msgspec.Struct, frozen=True, kw_only=True):
    """One variant on one device. What was not judged is None."""

    id: str
    verdict: Verdict
    samples: int = 0
    metric: Metric | None = None
    drop_points: Interval | None = None
    agreement: float | None = None
    sqnr_db: float | None = None
    max_abs_dlogit: float | None = None
    latency_ms: Latency | None = None
    size_bytes: int = 0
    facts: EngineFacts | None = None
    reasons: tuple[Reason, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All variants judged on one device; the worst verdict wins."""

    bundle: str
    device: str
    verdict: Verdict
    variants: tuple[VariantReport, ...]


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """fail before undecided before pass; `skipped` when nothing was judged."""
    judged = [verdict for verdict in verdicts if verdict != "skipped"]
    return max(judged, key=lambda verdict: _SEVERITY[verdict]) if judged else "skipped"
