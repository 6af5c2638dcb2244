"""What the parts of a bundle's report share: each variant with what was judged and measured of it."""

import math
from collections.abc import Sequence

import msgspec

from edgetl.bundle import Bundle
from edgetl.devices.verdict import Reason, Report, VariantReport
from edgetl.manifest import VariantRecord
from edgetl.metrics import TITLES
from edgetl.runtime.bench import VariantBench

OFF_SCALE = 3.0
"""A failed variant whose drop exceeds the others' largest bound so many times would flatten a plot of all."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A variant of the manifest and its report. `p50_ms`: median latency of one image, None when not measured."""

    record: VariantRecord
    report: VariantReport
    size_mb: float
    p50_ms: float | None = None

    @property
    def failed(self) -> bool:
        return self.report.verdict == "fail"

    @property
    def id(self) -> str:
        return self.record.id


def joined(bundle: Bundle, report: Report, benches: Sequence[VariantBench]) -> list[Judged]:
    """Every variant of the bundle, also those that `report` does not have; a bench's latency before the report's."""
    reports = {each.id: each for each in report.variants}
    times = {each.id: each.latency_ms.p50 for each in report.variants if each.latency_ms}
    times |= {each.id: single.p50_ms for each in benches if (single := each.scenarios.single_stream)}
    return [
        Judged(
            record=record,
            report=reports.get(record.id) or _not_judged(record),
            size_mb=bundle.size_bytes(record) / 1e6,
            p50_ms=times.get(record.id),
        )
        for record in bundle.manifest.variants
    ]


def metric_name(judged: Sequence[Judged]) -> str:
    """The task metric as people write it."""
    names = [each.report.metric.name for each in judged if each.report.metric]
    return TITLES.get(names[0], names[0]) if names else "top-1"


def culprits(report: VariantReport) -> str:
    """The layers that did not pass, each with its cause where it is known; empty when all did."""
    blamed = dict.fromkeys(
        reason.layer + (f": {reason.cause}" if reason.cause else "")
        for reason in report.reasons
        if reason.verdict != "pass"
    )
    return ", ".join(blamed)


def why(report: VariantReport) -> str:
    """What did not pass, layer by layer; empty when all did."""
    return "; ".join(
        f"{reason.layer}: {reason.text}" + (f" – {reason.cause}" if reason.cause else "")
        for reason in report.reasons
        if reason.verdict != "pass"
    )


def off_scale(judged: Sequence[Judged]) -> set[str]:
    """The failed variants that plots of the drop leave out, by id."""
    bounds = [(each, each.report.drop_points) for each in judged]
    kept = [drop.high for each, drop in bounds if drop and not each.failed]
    limit = OFF_SCALE * max(1.0, *kept) if kept else math.inf
    return {each.id for each, drop in bounds if drop and each.failed and drop.value > limit}


def _not_judged(record: VariantRecord) -> VariantReport:
    text = f"not judged here; {record.verdict} at export"
    reason = Reason(layer="task", verdict="skipped", text=text)
    return VariantReport(id=record.id, verdict="skipped", reasons=(reason,))
