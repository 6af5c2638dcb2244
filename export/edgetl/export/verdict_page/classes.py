"""What happened to each class and group: the worst ones drawn with their bounds, all of them in a table."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from edgetl.devices.profile import Profile
from edgetl.devices.publish.reading import Published
from edgetl.devices.verdict import ClassReport, VariantReport
from edgetl.export.report.classes import FEW, MARKED, WORST
from edgetl.export.verdict_page.variants import BOUND, worst_first
from edgetl.finetune.report.page import PLOT_WIDTH, Section, literal

MAX_VARIANTS = 8
"""Variants whose classes are shown, the worst ones first."""

MAX_ROWS = 2000

HEADER = ("class or group", "samples", "torch", "variant", "drop, points", "from", "to", "damaged")


def class_sections(report: Published, profile: Profile | None) -> list[Section]:
    """A section for each variant with classes that lost anything; the others are named in a line of the first."""
    known = [variant for variant in worst_first(report) if variant.classes]
    if not known:
        return []
    bound = profile.accuracy.max_class_drop_points if profile else None
    hurt = [variant for variant in known if any(_lost(part) for part in variant.classes)]
    unharmed = [variant.id for variant in known if variant not in hurt]
    lines = (
        [f"No class lost accuracy in {', '.join(unharmed[:MAX_VARIANTS])}{_more(len(unharmed))}."] if unharmed else []
    )
    if not hurt:
        return [Section(title="Classes", lines=lines)]
    if len(hurt) > MAX_VARIANTS:
        lines.append(f"Here are {MAX_VARIANTS} of the {len(hurt)} variants in which a class lost accuracy.")
    first, *rest = [_section(variant, bound) for variant in hurt[:MAX_VARIANTS]]
    return [Section(title="Classes", lines=lines), first, *rest] if lines else [first, *rest]


def _more(count: int) -> str:
    return f" and {count - MAX_VARIANTS} more" if count > MAX_VARIANTS else ""


def _lost(part: ClassReport) -> bool:
    return part.damaged or part.drop_points.value > 0


def _section(variant: VariantReport, bound: float | None) -> Section:
    ranked = sorted(variant.classes, key=lambda part: (not part.damaged, -part.drop_points.value))
    worst = [part for part in ranked if _lost(part)][:WORST]
    rows = [_row(part) for part in ranked[:MAX_ROWS]]
    fold = f"All {len(ranked):,} classes and groups"
    if len(ranked) > MAX_ROWS:
        fold = f"The worst {MAX_ROWS:,} of {len(ranked):,} classes and groups"
    return Section(
        title=f"Classes: {variant.id}",
        text=_text(variant, worst),
        plot=_plot(worst, bound),
        alt="; ".join(f"{part.name}: {part.drop_points.value:+.1f} points of {part.samples} samples" for part in worst),
        header=HEADER,
        rows=rows,
        fold=fold,
    )


def _text(variant: VariantReport, worst: Sequence[ClassReport]) -> str:
    losing = sum(_lost(part) for part in variant.classes)
    hurt = sum(part.damaged for part in variant.classes)
    text = f"{losing:,} of {len(variant.classes):,} classes and groups lost accuracy, "
    text += (
        f"{hurt:,} of them significantly more than the rest (red)."
        if hurt
        else "none significantly more than the rest."
    )
    if losing > len(worst):
        text += f" The plot has the {len(worst)} worst, in part by chance: the bounds are of each class by itself."
    if few := sum(part.samples < FEW for part in variant.classes):
        text += (
            f" {few:,} have fewer than {FEW} samples, so that one answer is more than {100 / FEW:.0f} points (hollow)."
        )
    return text


def _row(part: ClassReport) -> tuple[str, ...]:
    drop = part.drop_points
    return (
        part.name,
        str(part.samples),
        f"{part.reference:.1%}",
        f"{part.value:.1%}",
        f"{drop.value:+.1f}",
        f"{drop.low:.1f}",
        f"{drop.high:.1f}",
        "yes" if part.damaged else "",
    )


def _plot(worst: Sequence[ClassReport], bound: float | None) -> Figure:
    figure = Figure(figsize=(PLOT_WIDTH, 1.0 + 0.27 * len(worst)))
    axes = figure.subplots()
    for row, part in enumerate(worst):
        colour, drop = (MARKED if part.damaged else "tab:blue"), part.drop_points
        axes.plot([drop.low, drop.high], [row, row], color=colour, linewidth=1.4)
        filling = "white" if part.samples < FEW else colour
        axes.plot(drop.value, row, "X" if part.damaged else "o", color=colour, markerfacecolor=filling, markersize=6.5)
        axes.text(1.02, row, f"of {part.samples}", transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    axes.axvline(0, color="grey", linewidth=0.8, zorder=0)
    if bound is not None:
        axes.axvline(bound, color=BOUND, linestyle="--", linewidth=1.2, zorder=0)
        axes.annotate(f"allowed {bound:g}", (bound, 1), xycoords=axes.get_xaxis_transform(), xytext=(0, 3),
                      textcoords="offset points", color=BOUND, fontsize=9, ha="center")  # fmt: skip
    axes.set_yticks(range(len(worst)), [literal(part.name) for part in worst], fontsize=9)
    axes.set_ylim(len(worst) - 0.4, -0.6)
    axes.set_xlabel("drop of the class, percentage points")
    return figure
