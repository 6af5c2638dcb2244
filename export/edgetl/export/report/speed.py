"""How fast the variants were: latency with its bounds, and throughput where it was measured."""

from collections.abc import Sequence

import msgspec
from matplotlib.figure import Figure

from edgetl.export.report.judged import Judged
from edgetl.finetune.report.page import Section, literal
from edgetl.runtime.bench import VariantBench

Bounds = tuple[float | None, float | None]


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of one image, single stream, with one-sided 95 % bounds; `per_second`: images in batches."""

    id: str
    p50: float
    bounds: Bounds = (None, None)
    p90: float | None = None
    p99: float | None = None
    queries: int | None = None
    per_second: float | None = None


def speed_section(judged: Sequence[Judged], benches: Sequence[VariantBench]) -> Section | None:
    """From `benches`, else from the latency the verdict measured; None when there is neither."""
    speeds = [speed for each in benches if (speed := _of_bench(each)) is not None] or [
        speed for each in judged if (speed := _of_report(each)) is not None
    ]
    if not speeds:
        return None
    optional = {"p90 ms": "p90", "p99 ms": "p99", "queries": "queries", "images/s, in batches": "per_second"}
    known = {name: field for name, field in optional.items() if any(getattr(s, field) is not None for s in speeds)}
    rows = [
        (speed.id, f"{speed.p50:.2f}{_range(speed.bounds)}", *(_shown(getattr(speed, f)) for f in known.values()))
        for speed in speeds
    ]
    text = "The engine alone: decoding is not in it. Bounds in brackets are one-sided at 95 %."
    header = ("variant", "p50 ms", *known)
    alt = "; ".join(f"{speed.id}: {speed.p50:.2f} ms" for speed in speeds)
    return Section(title="Speed", text=text, header=header, rows=rows, plot=_bars(speeds), alt=alt)


def _of_bench(bench: VariantBench) -> Speed | None:
    single, offline = bench.scenarios.single_stream, bench.scenarios.offline
    if single is None:
        return None
    return Speed(
        id=bench.id,
        p50=single.p50_ms,
        bounds=single.bounds_ms.get("p50", (None, None)),
        p90=single.p90_ms,
        p99=single.p99_ms,
        queries=single.samples,
        per_second=offline.per_second if offline else None,
    )


def _of_report(judged: Judged) -> Speed | None:
    latency = judged.report.latency_ms
    if latency is None:
        return None
    return Speed(id=judged.id, p50=latency.p50, bounds=(latency.p50_low, latency.p50_high), p99=latency.p99)


def _range(bounds: Bounds) -> str:
    low, high = bounds
    return f" ({low:.2f} … {high:.2f})" if low is not None and high is not None else ""


def _shown(value: float | int | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _bars(speeds: Sequence[Speed]) -> Figure:
    figure = Figure(figsize=(7, 0.8 + 0.32 * len(speeds)))
    axes = figure.subplots()
    for row, speed in enumerate(speeds):
        axes.barh(row, speed.p50, color="tab:blue", height=0.7)
        low, high = speed.bounds
        if low is not None and high is not None:
            axes.plot([low, high], [row, row], color="black", linewidth=1.2)
    axes.set_yticks(range(len(speeds)), [literal(speed.id) for speed in speeds])
    axes.set_ylim(len(speeds) - 0.4, -0.6)
    axes.set_xlabel("median latency of one image, ms")
    return figure
