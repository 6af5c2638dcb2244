"""How long a query took: the distribution of every variant, with the baseline's beside it, and its percentiles."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from edgetl.devices.layers.latency import query_size
from edgetl.devices.profile import LatencyBudget, Profile
from edgetl.devices.publish.reading import Published
from edgetl.devices.verdict import QUANTILES, Latency, VariantReport
from edgetl.export.verdict_page.variants import BOUND, latency_cell
from edgetl.finetune.report.page import PLOT_WIDTH, Section, literal

MAX_DRAWN = 8
"""Variants in one plot of curves: more colours than these nobody tells apart."""

COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:pink", "tab:olive", "tab:cyan")


def colours(report: Published) -> dict[str, str]:
    """One colour for each of the first variants of the report, the same in every plot."""
    return dict(zip((variant.id for variant in report.variants), COLOURS, strict=False))


def latency_section(report: Published, profile: Profile | None) -> Section | None:
    """None when no latency was measured."""
    timed = [(each, each.latency_ms) for each in report.variants if each.latency_ms]
    if not timed:
        return None
    rows = [_row(each.id, latency) for each, latency in timed]
    rows += [_row(f"{each.id}, baseline", each.baseline_latency_ms) for each, _ in timed if each.baseline_latency_ms]
    header = ("variant", "p50 ms", "p99 ms", "fastest ms", "slowest ms")
    shades = colours(report)
    curves = [each for each, latency in timed if each.id in shades and _drawable(latency)]
    if not curves:
        text = "One-sided bounds in brackets. The report keeps no distribution of single times."
        return Section(title="Latency", text=text, header=header, rows=rows)
    budget = profile.latency if profile else LatencyBudget()
    return Section(
        title="Latency",
        text=_text(curves, len(timed), budget),
        plot=_plot(curves, shades, budget),
        alt="; ".join(_words(each) for each in curves),
        header=header,
        rows=rows,
        fold="The latencies as a table",
    )


def _text(curves: Sequence[VariantReport], timed: int, budget: LatencyBudget) -> str:
    text = "The share of queries that were answered within a time; the steeper the curve, the steadier the engine."
    if budget.asked and query_size(budget) > 1:
        text += f" A query has {query_size(budget)} samples."
    if any(each.baseline_latency_ms for each in curves):
        text += " Dashed: the baseline, measured in turns with it."
    if budget.asked:
        text += " Crosses: what the profile allows."
    return text + (f" The plot has {len(curves)} of {timed} variants." if len(curves) < timed else "")


def _row(name: str, latency: Latency) -> tuple[str, ...]:
    ends = (latency.quantiles[0], latency.quantiles[-1]) if latency.quantiles else None
    return (
        name,
        latency_cell(latency.p50, latency.p50_low, latency.p50_high),
        latency_cell(latency.p99, latency.p99_low, latency.p99_high),
        *((f"{ends[0]:.2f}", f"{ends[1]:.2f}") if ends else ("–", "–")),
    )


def _drawable(latency: Latency | None) -> bool:
    """Whether there is a distribution at the levels known here, of times that a logarithmic axis can show."""
    return latency is not None and len(latency.quantiles) == len(QUANTILES) and min(latency.quantiles) > 0


def _plot(curves: Sequence[VariantReport], shades: dict[str, str], budget: LatencyBudget) -> Figure:
    figure = Figure(figsize=(PLOT_WIDTH, 3.4))
    axes = figure.subplots()
    for each in curves:
        _curve(axes, each.latency_ms, shades[each.id], "-", literal(each.id))
        _curve(axes, each.baseline_latency_ms, shades[each.id], "--", "")
    for most, level in ((budget.p50_ms, 50), (budget.p99_ms, 99)):
        if most is not None:
            axes.plot(most, level, "x", color=BOUND, markersize=9, markeredgewidth=2)
            axes.annotate(f"p{level} ≤ {most:g}", (most, level), xytext=(7, -4), textcoords="offset points",
                          color=BOUND, fontsize=9)  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="milliseconds a query", ylabel="queries answered, %")
    axes.set_ylim(0, 103)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    return figure


def _curve(axes: Axes, latency: Latency | None, colour: str, style: str, label: str) -> None:
    if latency is not None and _drawable(latency):
        levels = [100 * level for level in QUANTILES]
        axes.plot(latency.quantiles, levels, style, color=colour, label=label, linewidth=1.6, drawstyle="default")


def _words(report: VariantReport) -> str:
    latency, before = report.latency_ms, report.baseline_latency_ms
    if latency is None:
        return report.id
    tail = f", p99 {latency.p99:.2f} ms" if latency.p99 is not None else ""
    return f"{report.id}: p50 {latency.p50:.2f} ms{tail}" + (
        f"; its baseline p50 {before.p50:.2f} ms" if before else ""
    )
