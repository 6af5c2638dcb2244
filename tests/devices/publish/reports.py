"""Reports to publish, made by hand: everything filled, nothing filled, and names that are markup."""

from edgetl.devices.baseline import SCHEMA, GateReport
from edgetl.devices.verdict import (
    QUANTILES,
    ClassReport,
    Interval,
    Latency,
    Metric,
    Reason,
    Report,
    Resources,
    VariantReport,
)
from edgetl.machine import Machine
from edgetl.types import EngineFacts, Verdict

NASTY = "<script>alert(1)</script> | `x` $y$ [z](javascript:1) @all *b* \x00\x1b"

MACHINE = Machine(
    system="Linux", arch="x86_64", cpu="A processor", features=("avx2",), cores=4, memory_bytes=2**33, board="", gpus=()
)


def part(name: str, drop: float, *, damaged: bool = False) -> ClassReport:
    lower = Interval(value=drop, low=drop - 4, high=drop + 6)
    return ClassReport(
        name=name, samples=50, reference=0.9, value=0.9 - drop / 100, drop_points=lower, damaged=damaged
    )  # fmt: skip


def times(scale: float) -> Latency:
    return Latency(
        p50=1.3 * scale, p50_low=1.2 * scale, p50_high=1.5 * scale, p99=2.9 * scale, p99_low=2.0 * scale, p99_high=None,
        quantiles=tuple(scale * (1 + level**3 * 2) for level in QUANTILES),
    )  # fmt: skip


def full(name: str = "openvino-int8", verdict: Verdict = "fail") -> VariantReport:
    """Every field filled; an undecided task layer, and a numerics layer with `verdict`."""
    return VariantReport(
        id=name, verdict=verdict, samples=300, metric=Metric(name="top1", reference=0.95, value=0.945),
        drop_points=Interval(value=0.5, low=-0.75, high=1.75), agreement=0.98, sqnr_db=24.5, column_sqnr_db=20.0,
        kl=0.002, max_abs_dlogit=0.4, reproduction_sqnr_db=90.0, latency_ms=times(1.0), size_bytes=2_600_000,
        classes=(part("ants", 12.5, damaged=True), part("bees", -1.0), part(NASTY, 3.0)),
        resources=Resources(per_second=412.5, per_second_low=400.0, per_second_high=425.0, cold_start_ms=310.0,
                            cold_start_low=300.0, cold_start_high=330.0, rss_mb=151.0),
        baseline_latency_ms=times(1.2),
        facts=EngineFacts(engine="openvino", version="2026.4", provider="CPU", precision="int8", threads=2,
                          layers={"int8": 50, "fp32": 3}),
        reasons=(
            Reason(layer="input", verdict="pass", text="36 encoded images decode exactly"),
            Reason(layer="numerics", verdict="pass", text="300 samples within tolerance"),
            Reason(layer="numerics", verdict=verdict, text=f"logits differ for `{NASTY}`", cause="a red and blue swap"),
            Reason(layer="task", verdict="undecided", text="about 900 more samples would decide", p_value=0.3),
        ),
    )  # fmt: skip


def skipped(name: str = "tensorrt-fp16") -> VariantReport:
    reason = Reason(layer="engine", verdict="skipped", text="`tensorrt` is not installed")
    return VariantReport(id=name, verdict="skipped", reasons=(reason,))


def checked(*variants: VariantReport, verdict: Verdict = "fail") -> Report:
    return Report(bundle="out/bundle", device="host", verdict=verdict, variants=variants, machine=MACHINE)


def gated(*variants: VariantReport, verdict: Verdict = "fail") -> GateReport:
    return GateReport(
        schema=SCHEMA, bundle="out/bundle", device="host", verdict=verdict, baseline="out/before", machine=MACHINE,
        variants=variants,
    )  # fmt: skip
