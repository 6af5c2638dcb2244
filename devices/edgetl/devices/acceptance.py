"""A bundle's gate as one question of somebody else's test suite: asked with paths, answered in words and figures."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgetl.bundle import Bundle, open_bundle
from edgetl.devices.baseline import GateReport, open_baseline
from edgetl.devices.catalogue import host_profile, load_profile
from edgetl.devices.check import check
from edgetl.devices.evidence import NewData
from edgetl.devices.gate import gate
from edgetl.devices.launches import LaunchPlan
from edgetl.devices.profile import Profile
from edgetl.devices.verdict import Report, VariantReport
from edgetl.errors import ConfigError

LAUNCHES = range(5, 101)
"""So many processes measure latency; with fewer an interval over launches says nothing."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the bundle at that path passes; the rest is as on the command line. `place`: how to call it in words."""

    place: str
    bundle: Path
    device: str | None = None
    variants: tuple[str, ...] | None = None
    data: Path | None = None

    def check(self) -> Report:
        """The verdict without latency. Raises EdgetlError."""
        bundle = open_bundle(self.bundle)
        return check(bundle, self._profile(), variants=self.variants, latency=None, new=self._new(bundle))

    def gate(self, baseline: Path | None, margin_percent: float, launches: int) -> GateReport:
        """The verdict with latency, over so many launches, and against `baseline`. Raises EdgetlError."""
        if not 0 <= margin_percent <= 100:
            raise ConfigError(f"`margin_percent` cannot be `{margin_percent}`", hint="it lies between 0 and 100")
        if launches not in LAUNCHES:
            raise ConfigError(f"`launches` cannot be `{launches}`", hint="it lies between 5 and 100")
        bundle = open_bundle(self.bundle)
        return gate(
            bundle, self._profile(), baseline=open_baseline(baseline) if baseline else None, variants=self.variants,
            new=self._new(bundle), margin=margin_percent / 100, plan=LaunchPlan(launches=launches),
        )  # fmt: skip

    def figures(self, report: Report | GateReport) -> Iterator[tuple[str, float | str]]:
        """A name and a value for all that was measured. Milliseconds, percentage points, decibels, fractions of 1."""
        for variant in report.variants:
            named = _figures(variant)
            yield from ((f"{self.bundle.name}.{variant.id}.{name}", value) for name, value in named.items())

    def words(self, report: Report | GateReport) -> str:
        """The verdict of each variant, and the reasons that made it with their causes, a line each."""
        lines = [f"edgetl: {report.verdict}: {self.place}"]
        for variant in report.variants:
            lines.append(f"  {variant.id}: {variant.verdict}")
            for reason in variant.reasons:
                if reason.verdict == variant.verdict != "pass":
                    cause = f" (cause: {reason.cause})" if reason.cause else ""
                    lines.append(f"    {reason.layer}: {reason.text}{cause}")
        return "\n".join(lines)

    def _profile(self) -> Profile:
        return host_profile() if self.device is None else load_profile(self.device)

    def _new(self, bundle: Bundle) -> NewData | None:
        if self.data is None:
            return None
        return NewData(labelled=tuple(bundle.manifest.task.labelled(self.data)))


def _figures(variant: VariantReport) -> dict[str, float | str]:
    """What is known of `variant`; what was not measured is left out."""
    latency, drop, metric = variant.latency_ms, variant.drop_points, variant.metric
    known = {
        "verdict": variant.verdict,
        "samples": variant.samples or None,
        metric.name if metric else "metric": metric.value if metric else None,
        "drop_points": drop.value if drop else None,
        "drop_points_high": drop.high if drop else None,
        "agreement": variant.agreement,
        "sqnr_db": variant.sqnr_db,
        "p50_ms": latency.p50 if latency else None,
        "p50_ms_low": latency.p50_low if latency else None,
        "p50_ms_high": latency.p50_high if latency else None,
        "p99_ms": latency.p99 if latency else None,
    }
    return {name: value for name, value in known.items() if value is not None}
