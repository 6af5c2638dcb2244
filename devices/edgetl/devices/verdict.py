"""What `check` says: a verdict per variant with its numbers and reasons. These structs are the JSON."""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from msgspec import structs

from edgetl.devices.multiplicity import holm
from edgetl.devices.statistics import ALPHA
from edgetl.machine import Machine
from edgetl.types import EngineFacts, Verdict

Layer = Literal["hardware", "engine", "precision", "input", "numerics", "task", "latency", "resources", "baseline"]

QUANTILES = (0.0, 0.01, 0.05, *(step / 10 for step in range(1, 10)), 0.95, 0.99, 1.0)
"""The levels at which a latency's distribution is kept."""

_SEVERITY: dict[Verdict, int] = {"pass": 0, "skipped": 0, "undecided": 1, "fail": 2}


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a layer said `verdict`; `cause` names the fault when it is known.

    `p_value`: for a statistical question, how probable such data are although all is within its bound.
    """

    layer: Layer
    verdict: Verdict
    text: str
    cause: str | None = None
    p_value: float | None = None


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """Torch's value and the variant's, fractions of 1, on the same samples."""

    name: str
    reference: float
    value: float


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A drop in percentage points with its one-sided bounds, at the profile's confidence."""

    value: float
    low: float
    high: float


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds a query. Bounds are one-sided at the profile's confidence, when they were asked for.

    `quantiles`: the distribution at `QUANTILES`, empty when single times were not kept.
    """

    p50: float
    p99: float | None
    p50_low: float | None = None
    p50_high: float | None = None
    p99_low: float | None = None
    p99_high: float | None = None
    quantiles: tuple[float, ...] = ()


class ClassReport(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to the samples of one class or group: accuracy of torch and of the variant, fractions of 1.

    `drop_points` in percentage points, with bounds for this class alone: of a hundred classes some lie outside theirs
    by chance. `damaged`: significantly more was lost here than elsewhere, corrected for looking at all of them.
    """

    name: str
    samples: int
    reference: float
    value: float
    drop_points: Interval
    damaged: bool = False


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """What else a profile may bound; None was not measured. Memory in 10⁶ bytes, times in ms.

    Bounds are one-sided at the profile's confidence. `rss_mb`: the most resident memory of any process that opened
    this variant alone and answered.
    """

    per_second: float | None = None
    per_second_low: float | None = None
    per_second_high: float | None = None
    cold_start_ms: float | None = None
    cold_start_low: float | None = None
    cold_start_high: float | None = None
    rss_mb: float | None = None


class VariantReport(msgspec.Struct, frozen=True, kw_only=True):
    """One variant on one device. What was not judged is None."""

    id: str
    verdict: Verdict
    samples: int = 0
    metric: Metric | None = None
    drop_points: Interval | None = None
    agreement: float | None = None
    sqnr_db: float | None = None
    column_sqnr_db: float | None = None
    kl: float | None = None
    max_abs_dlogit: float | None = None
    reproduction_sqnr_db: float | None = None
    latency_ms: Latency | None = None
    size_bytes: int = 0
    classes: tuple[ClassReport, ...] = ()
    resources: Resources | None = None
    baseline_latency_ms: Latency | None = None
    facts: EngineFacts | None = None
    reasons: tuple[Reason, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All variants judged on one device; the worst verdict wins. `machine`: the computer that judged.

    `confidence`: the profile's, at which all bounds of the report are.
    """

    bundle: str
    device: str
    verdict: Verdict
    variants: tuple[VariantReport, ...]
    machine: Machine | None = None
    confidence: float = 1 - ALPHA


def settle(reports: Sequence[VariantReport], alpha: float = ALPHA) -> tuple[VariantReport, ...]:
    """Applies the one error budget: a statistical failure stands only if Holm's correction leaves it below `alpha`.

    A pass needs no correction: the gate passes when all its questions do, so a wrong pass needs the one bad
    variant to pass (Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24, 1982).
    """
    asked = [r.p_value for report in reports for r in report.reasons if r.p_value is not None]
    adjusted = iter(holm(asked))
    settled = []
    for report in reports:
        reasons = tuple(r if r.p_value is None else _settled(r, next(adjusted), alpha) for r in report.reasons)
        settled.append(structs.replace(report, reasons=reasons, verdict=worst(r.verdict for r in reasons)))
    return tuple(settled)


def _settled(reason: Reason, adjusted: float, alpha: float) -> Reason:
    if reason.verdict != "fail" or adjusted <= alpha:
        return reason
    text = f"{reason.text}; not significant among all questions of this check (p {adjusted:.2g})"
    return structs.replace(reason, verdict="undecided", text=text)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """fail before undecided before pass; `skipped` when nothing was judged."""
    judged = [verdict for verdict in verdicts if verdict != "skipped"]
    return max(judged, key=lambda verdict: _SEVERITY[verdict]) if judged else "skipped"
