"""How the variants did before: the drop and the median latency of every earlier run on the same machine."""

import math
from collections.abc import Sequence
from datetime import datetime, timezone

import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from edgetl.devices.measure import BenchReport
from edgetl.devices.measurements import Record
from edgetl.devices.profile import Profile
from edgetl.devices.publish.reading import Published
from edgetl.devices.verdict import Interval, Report, VariantReport
from edgetl.export.report.variants import interval
from edgetl.export.verdict_page.latency import colours
from edgetl.export.verdict_page.variants import BOUND, latency_cell
from edgetl.finetune.report.page import PLOT_WIDTH, Section, literal
from edgetl.machine import Machine
from edgetl.runtime.bench import VariantBench

MARKERS = {"check": "o", "gate": "s", "bench": "^"}
"""What was run tells how latency was measured: by a check in one process, by a gate in several."""

MAX_ROWS = 1000
"""Rows of the table, the newest; a variant of a run is one."""


MAX_TICKS = 6

SPREAD = 0.6
"""How much of a run's place its variants take."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What one run found of one variant; times in ms."""

    when: datetime
    command: str
    variant: str
    drop: Interval | None = None
    p50: float | None = None
    p50_low: float | None = None
    p50_high: float | None = None


def history_section(report: Published, records: Sequence[Record], profile: Profile | None) -> Section | None:
    """None when no earlier run on this machine is known."""
    machine = report.machine or next((record.machine for record in reversed(records)), None)
    points, unread = read_points(records, report.device, machine)
    if not points:
        return None
    runs = sorted({point.when for point in points})
    shades = colours(report)
    drawn = [point for point in points if point.variant in shades]
    text = _text(len(runs), unread, machine, len({p.variant for p in points}), len({p.variant for p in drawn}))
    newest = points[: -MAX_ROWS - 1 : -1]
    fold = f"The newest {len(newest):,} of {len(points):,} rows" if len(newest) < len(points) else "The runs as a table"
    return Section(
        title="History",
        text=text,
        plot=_plot(drawn, shades, profile) if len(runs) > 1 and drawn else None,
        alt=_words(drawn),
        header=("when, UTC", "command", "variant", "drop, points", "p50 ms"),
        rows=[_row(point) for point in newest],
        fold=fold,
    )


def read_points(records: Sequence[Record], device: str, machine: Machine | None) -> tuple[list[Point], int]:
    """What checks, gates and benches of `device` on `machine` found, oldest first, and how many cannot be read."""
    found: list[Point] = []
    unread = 0
    for record in records:
        if record.command not in MARKERS or not _same(record.machine, machine):
            continue
        try:
            found += _points(record, device)
        except (msgspec.ValidationError, ValueError):
            unread += 1
    return sorted(found, key=lambda point: point.when), unread


def _same(one: Machine, other: Machine | None) -> bool:
    """Whether times of the two can be compared; the gate asks the same of a baseline's report."""
    return other is not None and (one.cpu, one.features, one.cores) == (other.cpu, other.features, other.cores)


def _points(record: Record, device: str) -> list[Point]:
    when = datetime.fromisoformat(record.when)
    when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
    if record.command == "bench":
        bench = msgspec.convert(record.result, BenchReport)
        return [_of_bench(when, each) for each in bench.variants if bench.device == device and each.timed == "engine"]
    report = msgspec.convert(record.result, Report)
    return [_of_report(when, record.command, each) for each in report.variants if report.device == device]


def _of_bench(when: datetime, bench: VariantBench) -> Point:
    single = bench.scenarios.single_stream
    low, high = single.bounds_ms.get("p50", (None, None)) if single else (None, None)
    return Point(
        when=when, command="bench", variant=bench.id, p50=single.p50_ms if single else None, p50_low=low, p50_high=high
    )


def _of_report(when: datetime, command: str, report: VariantReport) -> Point:
    latency = report.latency_ms
    return Point(
        when=when,
        command=command,
        variant=report.id,
        drop=report.drop_points,
        p50=latency.p50 if latency else None,
        p50_low=latency.p50_low if latency else None,
        p50_high=latency.p50_high if latency else None,
    )


def _text(runs: int, unread: int, machine: Machine | None, known: int, drawn: int) -> str:
    where = f" on {machine.cpu or machine.arch} ({machine.cores} cores)" if machine else ""
    text = (
        f"{runs} run{'s' * (runs > 1)} of this bundle{where} with this profile; those of other machines are left out."
    )
    if runs > 1:
        text += " Circles are checks, squares gates, triangles benches: each times a query in its own way."
    if drawn < known:
        text += f" The plot has {drawn} of {known} variants."
    return text + (f" {unread} record{'s' * (unread > 1)} of an unknown form cannot be read." if unread else "")


def _row(point: Point) -> tuple[str, ...]:
    return (
        f"{point.when.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}",
        point.command,
        point.variant,
        interval(point.drop) if point.drop else "–",
        latency_cell(point.p50, point.p50_low, point.p50_high),
    )


def _words(points: Sequence[Point]) -> str:
    """Of each variant the first and the last figure."""
    told = []
    for name in dict.fromkeys(point.variant for point in points):
        drops = [point.drop.value for point in points if point.variant == name and point.drop]
        times = [point.p50 for point in points if point.variant == name and point.p50 is not None]
        words = [f"drop from {drops[0]:+.2f} to {drops[-1]:+.2f} points"] if drops else []
        words += [f"p50 from {times[0]:.2f} to {times[-1]:.2f} ms"] if times else []
        told.append(f"{name}: {', '.join(words) or 'nothing measured'}")
    return "; ".join(told)


def _plot(points: Sequence[Point], shades: dict[str, str], profile: Profile | None) -> Figure:
    """One place on the axis for each run, in the order of time, and in it the variants side by side."""
    figure = Figure(figsize=(PLOT_WIDTH, 5.2))
    drops, times = figure.subplots(2, 1, sharex=True)
    runs = sorted({(point.when, point.command) for point in points})
    names = list(dict.fromkeys(point.variant for point in points))
    for number, name in enumerate(names):
        shift = SPREAD * (number - (len(names) - 1) / 2) / len(names)
        own = [(runs.index((point.when, point.command)) + shift, point) for point in points if point.variant == name]
        _line(drops, [(x, p, p.drop.value, p.drop.low, p.drop.high) for x, p in own if p.drop], shades[name])
        _line(times, [(x, p, p.p50, p.p50_low, p.p50_high) for x, p in own if p.p50 is not None], shades[name])
    if profile:
        _allowed(drops, profile.accuracy.max_drop_points)
        _allowed(times, profile.latency.p50_ms)
    drops.axhline(0, color="grey", linewidth=0.8, zorder=0)
    drops.set_ylabel("drop, points")
    times.set_ylabel("p50, ms")
    times.set_ylim(bottom=0)
    shown = range(len(runs) - 1, -1, -math.ceil(len(runs) / MAX_TICKS))
    times.set_xticks(shown, [f"{runs[i][0].astimezone(timezone.utc):%m-%d\n%H:%M}" for i in shown])
    times.set_xlabel("runs in the order of time, UTC")
    handles = [Line2D([], [], color=shades[name], marker="o", markersize=4.5, label=literal(name)) for name in names]
    drops.legend(handles=handles, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    figure.align_ylabels()
    return figure


def _line(axes: Axes, found: Sequence[tuple[float, Point, float, float | None, float | None]], colour: str) -> None:
    """The runs of one variant joined, each with its bounds and the marker of its command."""
    axes.plot([x for x, *_ in found], [value for _, _, value, *_ in found], "-", color=colour, linewidth=1, alpha=0.5)
    for x, point, value, low, high in found:
        if low is not None and high is not None:
            axes.plot([x, x], [low, high], color=colour, linewidth=1, alpha=0.7)
        axes.plot(x, value, MARKERS[point.command], color=colour, markersize=4.5)


def _allowed(axes: Axes, most: float | None) -> None:
    if most is not None:
        axes.axhline(most, color=BOUND, linestyle="--", linewidth=1.1, zorder=0)
        axes.text(1.01, most, f"≤ {most:g}", transform=axes.get_yaxis_transform(), color=BOUND, fontsize=9, va="center")
