"""What accuracy costs: the drop of every variant against its size and its latency, and the Pareto front."""

from collections.abc import Sequence
from itertools import cycle, pairwise

import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from edgetl.devices.verdict import Interval
from edgetl.export.report.judged import Judged, metric_name, off_scale
from edgetl.export.report.label_places import Labelled, Line, place_labels
from edgetl.finetune.report.page import Section, literal

COLOURS = ("#08306b", "#d95f02", "#8cc63f", "#7570b3", "#999999")
"""One an engine in the order of the manifest, from dark to light, so that they differ in grey too."""

MARKERS = {"fp32": "o", "fp16": "s", "bf16": "P", "int8": "^", "w8": "v"}


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A variant in the plot; `cost` in MB or milliseconds."""

    judged: Judged
    cost: float
    drop: Interval


def pareto_sections(judged: Sequence[Judged]) -> list[Section]:
    """Against size, and against latency when it was measured; nothing when fewer than two variants have a drop."""
    sections = [
        _section("Accuracy against size", "size", "MB", [(each, each.size_mb) for each in judged], judged),
        _section("Accuracy against latency", "median latency of one image", "ms",
                 [(each, each.p50_ms) for each in judged if each.p50_ms is not None], judged),
    ]  # fmt: skip
    return [section for section in sections if section]


def front(points: Sequence[Point]) -> list[Point]:
    """Those that did not fail and that no other such point beats in cost and drop, by rising cost."""
    allowed = [point for point in points if not point.judged.failed]
    best = [point for point in allowed if not any(_beats(other, point) for other in allowed)]
    return sorted(best, key=lambda point: (point.cost, -point.drop.value))


def _beats(one: Point, other: Point) -> bool:
    no_worse = one.cost <= other.cost and one.drop.value <= other.drop.value
    return no_worse and (one.cost, one.drop.value) != (other.cost, other.drop.value)


def _section(
    title: str, cost: str, unit: str, costs: Sequence[tuple[Judged, float | None]], judged: Sequence[Judged]
) -> Section | None:
    points = [
        Point(judged=each, cost=value, drop=each.report.drop_points)
        for each, value in costs
        if value is not None and each.report.drop_points is not None
    ]
    hidden = off_scale(judged)
    shown = [point for point in points if point.judged.id not in hidden]
    beyond = [f"{p.judged.id} ({p.cost:.3g} {unit}, {p.drop.value:+.1f} points)" for p in points if p not in shown]
    if len(shown) < 2:
        return None
    best = front(shown)
    names = ", ".join(f"{point.judged.id} ({point.cost:.3g} {unit}, {point.drop.value:+.2f} points)" for point in best)
    text = f"Lower and further left is better. On the Pareto front of the observed values: {names or 'none'}."
    text += " Bars are one-sided 95 % bounds of each drop; two variants whose bars overlap may not differ at all."
    if beyond:
        text += f" Off the scale: {', '.join(beyond)}."
    engines = list(dict.fromkeys(each.record.engine for each in judged))
    figure = _draw(
        shown, best, dict(zip(engines, cycle(COLOURS), strict=False)), f"{cost}, {unit}", metric_name(judged)
    )
    return Section(title=title, text=text, plot=figure, alt=f"Drop against {cost}. Pareto front: {names or 'none'}.")


def _draw(points: Sequence[Point], best: Sequence[Point], colours: dict[str, str], cost: str, metric: str) -> Figure:
    figure = Figure(figsize=(7.5, 4.4))
    axes = figure.subplots()
    for point in points:
        _mark(axes, point, colours[point.judged.record.engine], on_front=point in best)
    axes.plot([p.cost for p in best], [p.drop.value for p in best], "--", color="black", linewidth=1, zorder=1,
              drawstyle="steps-post")  # fmt: skip
    axes.axhline(0, color="grey", linewidth=0.8, zorder=0)
    axes.margins(x=0.25, y=0.12)
    axes.set(xlabel=cost, ylabel=f"drop of {metric}, percentage points")
    axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.legend(handles=_handles(points, colours), fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=4,
                frameon=False)  # fmt: skip
    place_labels(axes, [_labelled(point) for point in points], [*_bars(points), *_steps(best), _zero(axes)])
    return figure


def _mark(axes: Axes, point: Point, colour: str, *, on_front: bool) -> None:
    """Filled on the front, hollow off it; a failed one is crossed out."""
    x, drop = point.cost, point.drop
    axes.plot([x, x], [drop.low, drop.high], color=colour, linewidth=1.2, alpha=0.6, zorder=2)
    marker = MARKERS.get(point.judged.record.precision, "D")
    axes.plot(x, drop.value, marker, color=colour, markerfacecolor=colour if on_front else "white", markersize=8)
    if point.judged.failed:
        axes.plot(x, drop.value, "x", color="black", markersize=11, zorder=4)


def _labelled(point: Point) -> Labelled:
    failed = " (failed)" if point.judged.failed else ""
    return Labelled(x=point.cost, y=point.drop.value, text=literal(point.judged.id) + failed)


def _bars(points: Sequence[Point]) -> list[Line]:
    return [(point.cost, point.drop.low, point.cost, point.drop.high) for point in points]


def _steps(best: Sequence[Point]) -> list[Line]:
    """The front between two neighbours: to the right, then down."""
    across: list[Line] = [(a.cost, a.drop.value, b.cost, a.drop.value) for a, b in pairwise(best)]
    return across + [(b.cost, b.drop.value, b.cost, a.drop.value) for a, b in pairwise(best)]


def _zero(axes: Axes) -> Line:
    left, right = axes.get_xlim()
    return left, 0.0, right, 0.0


def _handles(points: Sequence[Point], colours: dict[str, str]) -> list[Line2D]:
    engines = {point.judged.record.engine for point in points}
    precisions = {point.judged.record.precision for point in points}
    made = [
        Line2D([], [], color=colour, linewidth=4, label=name) for name, colour in colours.items() if name in engines
    ]
    made += [
        Line2D([], [], linestyle="", marker=marker, color="black", markerfacecolor="white", markersize=7, label=name)
        for name, marker in MARKERS.items()
        if name in precisions
    ]
    front_label = "Pareto front (filled)"
    return [*made, Line2D([], [], linestyle="--", color="black", marker="o", linewidth=1, label=front_label)]
