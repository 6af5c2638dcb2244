"""The variants side by side, the worst first, and each one's drop with its interval against the bound."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgetl.devices.profile import Profile
from edgetl.devices.publish.reading import Published
from edgetl.devices.verdict import Interval, VariantReport
from edgetl.export.report.judged import OFF_SCALE, culprits
from edgetl.export.report.variants import LOOKS, interval
from edgetl.finetune.report.page import PLOT_WIDTH, Section, literal
from edgetl.metrics import TITLES
from edgetl.types import Verdict

ORDER: tuple[Verdict, ...] = ("fail", "undecided", "skipped", "pass")

MAX_DRAWN = 40
"""Variants in the plot of the drops, the worst ones; the table has all."""

BOUND = "#b2182b"


def worst_first(report: Published) -> list[VariantReport]:
    """The variants by their verdict, in the report's order where it is the same."""
    return sorted(report.variants, key=lambda variant: ORDER.index(variant.verdict))


def variants_section(report: Published) -> Section:
    """One row a variant."""
    metric = metric_name(report)
    header = ("variant", "verdict", "runs in", "MB", metric, "drop, points", "agrees", "SQNR dB", "max Δlogit",
              "p50 ms", "p99 ms", "not passed")  # fmt: skip
    rows = [_row(variant) for variant in worst_first(report)]
    text = f"{metric[0].upper()}{metric[1:]} and its drop are paired with torch FP32 on the same samples; one-sided "
    text += "bounds in brackets."
    if not rows:
        return Section(title="Verdict", text="The report has no variant.")
    return Section(title="Verdict", text=text, header=header, rows=rows)


def drop_section(report: Published, profile: Profile | None) -> Section | None:
    """Dot and whisker a variant; None when no drop was measured."""
    drops = [(each, each.drop_points) for each in worst_first(report) if each.drop_points]
    if not drops:
        return None
    bound = profile.accuracy.max_drop_points if profile else None
    text = "Whiskers reach from the lower to the upper bound, each one-sided; right of zero the variant is worse."
    if bound is not None:
        text += (
            f" A variant passes when its whisker ends left of the allowed {bound:g} points; one in fp32 that answers "
        )
        text += "as torch does need not prove it."
    if len(drops) > MAX_DRAWN:
        text += f" The plot has {MAX_DRAWN} of {len(drops)} variants."
    drawn = drops[:MAX_DRAWN]
    return Section(
        title="Accuracy drop",
        text=text,
        plot=_plot(drawn, bound, metric_name(report)),
        alt="; ".join(f"{each.id} ({each.verdict}): {interval(drop)} points" for each, drop in drawn),
        header=("variant", "verdict", "samples", "drop, points", "from", "to"),
        rows=[
            (each.id, each.verdict, str(each.samples), f"{d.value:+.2f}", f"{d.low:.2f}", f"{d.high:.2f}")
            for each, d in drops
        ],
        fold="The drops as a table",
    )


def metric_name(report: Published) -> str:
    """The task metric as people write it."""
    names = [each.metric.name for each in report.variants if each.metric]
    return TITLES.get(names[0], names[0] or "metric") if names else "top-1"


def latency_cell(value: float | None, low: float | None, high: float | None) -> str:
    """A percentile in ms with what is known of its bounds."""
    if value is None:
        return "–"
    if low is None and high is None:
        return f"{value:.2f}"
    return f"{value:.2f} ({number(low)}\u00a0…\u00a0{number(high)})"


def number(value: float | None, form: str = "{:.2f}") -> str:
    return "–" if value is None else form.format(value)


def _row(report: VariantReport) -> tuple[str, ...]:
    latency = report.latency_ms
    return (
        report.id,
        report.verdict,
        report.facts.precision if report.facts else "–",
        number(report.size_bytes / 1e6 or None, "{:.1f}"),
        number(report.metric.value if report.metric else None, "{:.1%}"),
        interval(report.drop_points) if report.drop_points else "–",
        number(report.agreement, "{:.1%}"),
        number(report.sqnr_db, "{:.1f}"),
        number(report.max_abs_dlogit, "{:.2g}"),
        latency_cell(latency.p50, latency.p50_low, latency.p50_high) if latency else "–",
        latency_cell(latency.p99, latency.p99_low, latency.p99_high) if latency else "–",
        culprits(report) or "–",
    )


def _plot(drops: Sequence[tuple[VariantReport, Interval]], bound: float | None, metric: str) -> Figure:
    figure = Figure(figsize=(PLOT_WIDTH, 1.1 + 0.32 * len(drops)))
    axes = figure.subplots()
    limit = _limit(drops, bound)
    for row, (each, drop) in enumerate(drops):
        _whisker(axes, row, each.verdict, drop, limit)
    axes.axvline(0, color="grey", linewidth=0.8, zorder=0)
    if bound is not None:
        axes.axvline(bound, color=BOUND, linestyle="--", linewidth=1.2, zorder=0)
        axes.annotate(f"allowed {bound:g}", (bound, 1), xycoords=axes.get_xaxis_transform(), xytext=(0, 3),
                      textcoords="offset points", color=BOUND, fontsize=9, ha="center")  # fmt: skip
    axes.set_yticks(range(len(drops)), [literal(f"{each.id}") for each, _ in drops])
    axes.set_ylim(len(drops) - 0.4, -0.6)
    axes.set_xlabel(f"drop of {literal(metric)}, percentage points")
    return figure


def _whisker(axes: Axes, row: int, verdict: Verdict, drop: Interval, limit: float) -> None:
    """Shape and filling tell the verdict, as in the bundle's report; beyond `limit` an arrow with the figure."""
    if drop.value > limit:
        place = axes.get_yaxis_transform()
        text = f"{verdict}: {drop.value:+.1f} points →"
        axes.text(0.98, row, text, transform=place, ha="right", va="center", fontsize=9)
        return
    colour, marker, filling = LOOKS[verdict]
    axes.plot([drop.low, min(drop.high, limit)], [row, row], color=colour, linewidth=1.6)
    for end in (drop.low, drop.high):
        if end <= limit:
            axes.plot(end, row, "|", color=colour, markersize=8)
    axes.plot(drop.value, row, marker, color=colour, markerfacecolor=filling, markersize=7)
    axes.annotate(verdict, (drop.value, row), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=7.5)


def _limit(drops: Sequence[tuple[VariantReport, Interval]], bound: float | None) -> float:
    """Where the axis ends: a ruined variant would flatten the others."""
    kept = [drop.high for each, drop in drops if each.verdict != "fail"]
    return OFF_SCALE * max(1.0, bound or 0.0, *kept) if kept else math.inf
