"""The variants side by side: the table of all, and each one's drop with its interval."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from edgetl.devices.verdict import Interval
from edgetl.export.report.judged import Judged, culprits, metric_name, off_scale, why
from edgetl.finetune.report.page import Section, literal
from edgetl.types import Verdict

LOOKS: dict[Verdict, tuple[str, str, str]] = {
    "pass": ("tab:blue", "o", "tab:blue"),
    "undecided": ("tab:grey", "o", "white"),
    "fail": ("tab:red", "X", "tab:red"),
    "skipped": ("tab:grey", "o", "white"),
}
"""Colour, marker and its filling: shape and filling tell verdicts apart without colour."""


def variants_section(judged: Sequence[Judged], golden_samples: int) -> Section:
    """One row a variant; `golden_samples`: images that SQNR, agreement and |Δlogit| are over."""
    timed = ("p50 ms",) if any(each.p50_ms is not None for each in judged) else ()
    drop = "drop, points (95\u00a0%)"
    header = ("variant", "verdict", "precision", "MB", metric_name(judged), drop, "agrees", "SQNR dB", "max Δlogit",
              *timed, "why")  # fmt: skip
    rows = [_row(each, timed=bool(timed)) for each in judged]
    lines = [f"{each.id}: {text}." for each in judged if (text := why(each.report))]
    return Section(title="Variants", text=_text(judged, golden_samples), lines=lines, header=header, rows=rows)


def drops_section(judged: Sequence[Judged]) -> Section | None:
    """Each variant's drop with its interval; None when none was judged."""
    drops = [(each, each.report.drop_points) for each in judged if each.report.drop_points]
    if not drops:
        return None
    figure = Figure(figsize=(7, 0.9 + 0.32 * len(drops)))
    axes = figure.subplots()
    hidden = off_scale(judged)
    for row, (each, drop) in enumerate(drops):
        if each.id in hidden:
            place = axes.get_yaxis_transform()
            axes.text(0.98, row, f"{drop.value:+.1f} points →", transform=place, ha="right", va="center", fontsize=9)
            continue
        colour, marker, filling = LOOKS[each.report.verdict]
        axes.plot([drop.low, drop.high], [row, row], color=colour, linewidth=3, alpha=0.5, solid_capstyle="butt")
        axes.plot(drop.value, row, marker, color=colour, markerfacecolor=filling, markersize=7)
    axes.axvline(0, color="grey", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(drops)), [literal(each.id) for each, _ in drops])
    axes.set_ylim(len(drops) - 0.4, -0.6)
    axes.set_xlabel(f"drop of {metric_name(judged)} against torch FP32, percentage points")
    shown = dict.fromkeys(each.report.verdict for each, _ in drops)
    handles = [_handle(verdict) for verdict in LOOKS if verdict in shown]
    axes.legend(handles=handles, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False)
    alt = "; ".join(f"{each.id}: {interval(drop)}" for each, drop in drops)
    text = "Bars reach from the lower to the upper bound, each one-sided at 95 %; right of zero the variant is worse."
    return Section(title="Accuracy drop", text=text, plot=figure, alt=alt)


def interval(drop: Interval) -> str:
    """A drop in points with its bounds."""
    return f"{drop.value:+.2f} ({drop.low:.2f}\u00a0…\u00a0{drop.high:.2f})"


def _text(judged: Sequence[Judged], golden_samples: int) -> str:
    metric = metric_name(judged)
    metric = metric[0].upper() + metric[1:]
    counts = sorted({each.record.task_result.samples for each in judged if each.record.task_result})
    over = f" of the export ({', '.join(f'{count:,}' for count in counts)})" if counts else ""
    text = f"{metric} and its drop are paired with torch FP32 on the same validation images{over}."
    if golden_samples:
        text += f" Agreement, SQNR and the largest |Δlogit| are over the golden set ({golden_samples:,} images)."
    return text


def _row(judged: Judged, *, timed: bool) -> tuple[str, ...]:
    report = judged.report
    return (
        judged.id,
        "not judged" if report.verdict == "skipped" else report.verdict,
        _precision(judged),
        f"{judged.size_mb:.1f}" if judged.size_mb >= 1 else f"{judged.size_mb:.2g}",
        f"{report.metric.value:.1%}" if report.metric else "–",
        interval(report.drop_points) if report.drop_points else "–",
        f"{report.agreement:.1%}" if report.agreement is not None else "–",
        f"{report.sqnr_db:.1f}" if report.sqnr_db is not None else "–",
        f"{report.max_abs_dlogit:.2g}" if report.max_abs_dlogit is not None else "–",
        *((f"{judged.p50_ms:.2f}" if judged.p50_ms is not None else "–",) if timed else ()),
        culprits(report) or "–",
    )


def _precision(judged: Judged) -> str:
    """The declared precision, and in how many compute layers it ran when others ran in another."""
    facts, precision = judged.report.facts or judged.record.facts, judged.record.precision
    layers = facts.layers if facts else {}
    if len(layers) < 2 or precision not in layers:
        return precision
    return f"{precision} ({layers[precision]} of {sum(layers.values())} layers)"


def _handle(verdict: Verdict) -> Line2D:
    colour, marker, filling = LOOKS[verdict]
    name = "not judged" if verdict == "skipped" else verdict
    return Line2D([], [], color=colour, marker=marker, markerfacecolor=filling, linewidth=3, alpha=0.8, label=name)
