"""`report.html` of a bundle: its variants, what they lost, what was measured where, and what travels."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from edgetl.bundle import Bundle
from edgetl.devices.verdict import Report, VariantReport
from edgetl.finetune.report.page import Section, write_page
from edgetl.runtime.bench import VariantBench


def write_report(path: Path, bundle: Bundle, report: Report, benches: Sequence[VariantBench] = ()) -> None:
    """`report` is the verdict to show, `benches` the speed measured with it."""
    task, source = bundle.manifest.task, bundle.manifest.source
    summary = (
        f"{source.backbone} ({source.strategy}), {len(task.labels)} labels, "
        f"{len(report.variants)} variants; verdict on {report.device}: {report.verdict}."
    )
    sections = [
        _verdicts(bundle, report),
        _drops(report),
        *([_speed(benches)] if benches else []),
        _content(bundle),
    ]
    command = f"edgetl check {report.bundle}\nedgetl bench {report.bundle}"
    write_page(path, f"Bundle {Path(report.bundle).name}", summary, [s for s in sections if s is not None], command)


def _verdicts(bundle: Bundle, report: Report) -> Section:
    header = ("variant", "verdict", "MB", "top-1", "drop, points (95 %)", "SQNR dB", "agrees", "why")
    rows = [_verdict_row(bundle, variant) for variant in report.variants]
    text = "Top-1 and drop are paired with torch FP32 on the same validation images; SQNR is over the golden set."
    return Section(title="Variants", text=text, header=header, rows=rows)


def _verdict_row(bundle: Bundle, variant: VariantReport) -> tuple[str, ...]:
    size = bundle.size_bytes(bundle.variant(variant.id)) / 1e6
    drop, metric = variant.drop_points, variant.metric
    return (
        variant.id,
        variant.verdict,
        f"{size:.1f}",
        f"{metric.value:.1%}" if metric else "–",
        f"{drop.value:+.2f} ({drop.low:.2f} … {drop.high:.2f})" if drop else "–",
        f"{variant.sqnr_db:.1f}" if variant.sqnr_db is not None else "–",
        f"{variant.agreement:.1%}" if variant.agreement is not None else "–",
        "; ".join(r.text + (f" – {r.cause}" if r.cause else "") for r in variant.reasons if r.verdict != "pass")
        or "all layers passed",
    )


def _drops(report: Report) -> Section | None:
    """Each variant's drop with its interval."""
    judged = [(variant.id, variant.drop_points) for variant in report.variants if variant.drop_points]
    if not judged:
        return None
    figure = Figure(figsize=(7, 0.5 + 0.45 * len(judged)))
    axes = figure.subplots()
    for row, (_, drop) in enumerate(judged):
        axes.plot([drop.low, drop.high], [row, row], color="tab:blue", linewidth=3, alpha=0.5)
        axes.plot(drop.value, row, "o", color="tab:blue")
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks(range(len(judged)), [name for name, _ in judged])
    axes.invert_yaxis()
    axes.set_xlabel("drop of top-1 against torch FP32, percentage points, with one-sided 95 % bounds")
    alt = "; ".join(f"{name}: {drop.value:+.2f} between {drop.low:.2f} and {drop.high:.2f}" for name, drop in judged)
    return Section(title="Accuracy drop", plot=figure, alt=alt)


def _speed(benches: Sequence[VariantBench]) -> Section:
    figure = Figure(figsize=(7, 0.5 + 0.45 * len(benches)))
    axes = figure.subplots()
    axes.barh([bench.id for bench in benches], [bench.scenarios.single_stream.p50_ms for bench in benches])
    axes.invert_yaxis()
    axes.set_xlabel("median latency of one image, ms (engine alone)")
    header = ("variant", "p50 ms", "p90 ms", "p99 ms", "queries", "images/s offline")
    rows = [
        (
            bench.id,
            f"{bench.scenarios.single_stream.p50_ms:.2f}",
            f"{bench.scenarios.single_stream.p90_ms:.2f}",
            f"{p99:.2f}" if (p99 := bench.scenarios.single_stream.p99_ms) is not None else "–",
            str(bench.scenarios.single_stream.samples),
            f"{bench.scenarios.offline.per_second:.0f}",
        )
        for bench in benches
    ]
    alt = "; ".join(f"{row[0]}: {row[1]} ms" for row in rows)
    return Section(title="Speed", header=header, rows=rows, plot=figure, alt=alt)


def _content(bundle: Bundle) -> Section:
    manifest = bundle.manifest
    golden, weights = manifest.golden, manifest.source.weights
    travels = {
        "validation": f"{golden.samples} validation images as pixels, {len(golden.encoded)} of them as files",
        "synthetic": f"{golden.samples} generated images; none of the user's",
        "none": "no images; verdicts stay undecided",
    }
    rows = [
        ("golden set", travels[golden.kind]),
        ("weights", f"{weights.origin}; licence: {weights.licence}"),
        ("calibration", ", ".join(f"{key} {value}" for key, value in manifest.source.calibration.items())),
        ("versions", ", ".join(f"{key} {value}" for key, value in manifest.versions.items())),
    ]
    return Section(title="What travels", rows=rows)
