"""How INT8 got right: the steps tried for each variant, and the number of calibration images."""

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from edgetl.export.report.judged import Judged
from edgetl.finetune.report.page import PLOT_WIDTH, Section
from edgetl.manifest import Attempt, CalibrationPoint, Manifest, Quantisation

MAX_KEPT = 5
"""More layers of one step are only counted; those of the variant that ships are listed in full."""


def attempts_sections(judged: Sequence[Judged]) -> list[Section]:
    """A section for each variant that took more than one step or did not get there."""
    return [_attempts(each) for each in judged if len(each.record.attempts) > 1 or _in_vain(each)]


def _in_vain(judged: Judged) -> bool:
    attempts = judged.record.attempts
    return bool(attempts) and (judged.failed or attempts[-1].verdict == "fail")


def _attempts(judged: Judged) -> Section:
    attempts, shipped = judged.record.attempts, judged.record.quantisation
    before = [None, *(attempt.quantisation for attempt in attempts)]
    rows = [_row(attempt, previous) for attempt, previous in zip(attempts, before, strict=False)]
    what = "How int8 got right" if attempts[-1].verdict == "pass" and not judged.failed else "What was tried for int8"
    result = judged.record.task_result
    images = f" ({result.samples:,} images)" if result else ""
    text = f"Drops are paired with torch FP32 on the validation split{images}"
    text += ", without interval; the table of variants has the last one's."
    if len(attempts) > 1:
        text += (
            " Steps with a drop were judged on the same images and share the 5 % of a wrong pass; the others did "
            "not hold on the training images kept to choose by. New labelled images given to `edgetl check` judge it "
            "afresh."
        )
    return Section(
        title=f"{what}: {judged.id}",
        text=text,
        lines=_shipped(shipped, attempts),
        header=("step", "what was changed", "drop, points", "SQNR dB", "MB", "verdict"),
        rows=rows,
    )


def _row(attempt: Attempt, previous: Quantisation | None) -> tuple[str, ...]:
    return (
        attempt.step,
        "; ".join(changes(previous, attempt.quantisation)) or "nothing",
        f"{attempt.drop_points:+.2f}" if attempt.drop_points is not None else "–",
        f"{attempt.sqnr_db:.1f}" if attempt.sqnr_db is not None else "–",
        f"{attempt.size_bytes / 1e6:.2f}",
        attempt.verdict,
    )


def changes(previous: Quantisation | None, made: Quantisation) -> list[str]:
    """What `made` does otherwise than `previous`, in words; all that matters of it when there is none."""
    if previous is None:
        named = _kept(made.kept, "kept in floating point")
        first = [f"{made.samples} calibration images", f"ranges: {made.ranges}"]
        return [*first, *(["bias correction"] * made.bias_correction), *(["trained"] * made.trained), *named]
    found = []
    if made.samples != previous.samples:
        found.append(f"calibration images: {previous.samples} → {made.samples}")
    if made.ranges != previous.ranges:
        found.append(f"ranges: {previous.ranges} → {made.ranges}")
    if made.bias_correction != previous.bias_correction:
        found.append(f"bias correction {'on' if made.bias_correction else 'off'}")
    if made.equalised != previous.equalised:
        found.append(f"channels {'equalised' if made.equalised else 'as they were'}")
    if made.trained != previous.trained:
        found.append("fine-tuned under quantisation" if made.trained else "weights as they were before fine-tuning")
    found += _kept([name for name in made.kept if name not in previous.kept], "kept in floating point")
    found += _kept([name for name in previous.kept if name not in made.kept], "quantised again")
    return found


def _kept(names: Sequence[str], what: str) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - MAX_KEPT} more" if len(names) > MAX_KEPT else ""
    return [f"{what}: {', '.join(names[:MAX_KEPT])}{more}"]


def _shipped(shipped: Quantisation | None, attempts: Sequence[Attempt]) -> list[str]:
    """Which step is in the bundle, and the layers it keeps in floating point."""
    if shipped is None:
        return []
    steps = [attempt.step for attempt in attempts if attempt.quantisation == shipped]
    lines = [f"In the bundle: the step “{steps[-1]}”."] if steps else []
    if shipped.kept:
        lines.append(f"{len(shipped.kept)} layers stay in floating point: {', '.join(shipped.kept)}.")
    return lines


def curve_section(manifest: Manifest) -> Section | None:
    """SQNR and agreement by the number of calibration images, the chosen number marked."""
    points = sorted(manifest.calibration_curve, key=lambda point: point.samples)
    if not points:
        return None
    chosen = manifest.source.calibration.get("samples")
    marked = next((point for point in points if point.samples == chosen), None)
    text = "Int8 against torch FP32 on other training images, by the number of images that calibrated it."
    if chosen is not None:
        text += f" Chosen: {chosen} images" + (f", {_words(marked)}." if marked else ".")
    rows = [(f"{p.samples}{' (chosen)' * (p is marked)}", f"{p.sqnr_db:.1f}", f"{p.agreement:.1%}") for p in points]
    header = ("calibration images", "SQNR dB", "agreement")
    drawable = [point for point in points if math.isfinite(point.sqnr_db)]
    if len(drawable) < 2:  # one point is no curve
        return Section(title="Calibration images", text=text, header=header, rows=rows)
    alt = "; ".join(f"{point.samples} images: {_words(point)}" for point in points)
    plot = _curve(drawable, marked)
    return Section(title="Calibration images", text=text, header=header, rows=rows, plot=plot, alt=alt)


def _words(point: CalibrationPoint) -> str:
    return f"{point.sqnr_db:.1f} dB, {point.agreement:.1%} agree"


def _curve(points: Sequence[CalibrationPoint], marked: CalibrationPoint | None) -> Figure:
    figure = Figure(figsize=(PLOT_WIDTH + 1, 4.2))
    noise, agreement = figure.subplots(2, 1, sharex=True)
    sizes = [point.samples for point in points]
    noise.plot(sizes, [point.sqnr_db for point in points], "o-", color="tab:blue", markersize=4)
    agreement.plot(sizes, [100 * point.agreement for point in points], "s-", color="tab:green", markersize=4)
    if marked:
        _mark(noise, marked.samples, marked.sqnr_db, f"chosen: {marked.samples}")
        _mark(agreement, marked.samples, 100 * marked.agreement)
    noise.set_ylabel("SQNR, dB")
    agreement.set(ylabel="agreement, %", xlabel="calibration images")
    agreement.set_xscale("log", base=2)
    agreement.xaxis.set_major_locator(FixedLocator(_ticks(sizes)))
    agreement.xaxis.set_minor_locator(NullLocator())
    agreement.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    for axes in (noise, agreement):
        axes.margins(0.06, 0.15)
    figure.align_ylabels()
    return figure


def _ticks(sizes: Sequence[int]) -> list[int]:
    """The sizes, without those that stand so near to the one before that their numbers would touch."""
    kept = list(sizes[:1])
    for before, size in pairwise(sizes):
        if size >= kept[-1] * 1.3 or size >= before * 1.9:
            kept.append(size)
    return kept


def _mark(axes: Axes, x: float, y: float, label: str = "") -> None:
    axes.axvline(x, color="grey", linestyle=":", linewidth=1.2, zorder=0)
    axes.plot(x, y, "o", markersize=12, markerfacecolor="none", color="black", markeredgewidth=1.4)
    if label:
        at = axes.get_xaxis_transform()
        axes.annotate(label, (x, 1), xycoords=at, xytext=(0, 3), textcoords="offset points", ha="center", fontsize=9)
