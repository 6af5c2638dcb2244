"""Which classes and groups a variant damaged, from the answers recorded on the validation split."""

from collections.abc import Sequence

import msgspec
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgetl.bundle import Bundle
from edgetl.devices.answers import Answers, validation_answers
from edgetl.devices.damage import Damage, damaged
from edgetl.devices.parts import Part, parts
from edgetl.devices.statistics import drop_bounds
from edgetl.export.report.judged import Judged
from edgetl.finetune.report.page import Section, literal

WORST = 20
"""So many classes are drawn, those that lost most answers."""

FEW = 20
"""With fewer images one answer is more than five points."""

PLAIN, MARKED = "#9ecae1", "#b2182b"


def classes_sections(bundle: Bundle, judged: Sequence[Judged]) -> list[Section]:
    """A section for each variant that lost right answers; the others are named in a line of the first."""
    recorded = [(each.id, validation_answers(bundle, each.record)) for each in judged]
    known = [(name, answers) for name, answers in recorded if answers is not None and len(answers)]
    if not known:
        return []
    labels = bundle.manifest.task.labels
    sections = [_section(name, answers, labels) for name, answers in known if answers.lost.any()]
    if not sections:
        sections = [Section(title="Damage by class", text=f"On {len(known[0][1]):,} validation images.")]
    lines = [*sections[0].lines, *_few(counted(known[0][1], labels)), *_unharmed(known)]
    return [msgspec.structs.replace(sections[0], lines=lines), *sections[1:]]


def _unharmed(known: Sequence[tuple[str, Answers]]) -> list[str]:
    names = ", ".join(name for name, answers in known if not answers.lost.any())
    return [f"No right answer was lost by {names}."] if names else []


def counted(answers: Answers, labels: Sequence[str]) -> list[Part]:
    """Every class and group with at least one sample, in the order of the labels, groups after them."""
    return [part for part in parts(answers, labels) if part.samples]


def _section(name: str, answers: Answers, labels: tuple[str, ...]) -> Section:
    found, hurt = counted(answers, labels), damaged(answers, labels)
    if max(part.lost for part in found) == 1:
        text = f"{_summary(answers, hurt)} None lost more than one."
        return Section(title=f"Damage by class: {name}", text=text)
    worst = sorted((part for part in found if part.lost), key=lambda part: (-part.lost, -part.drop_points))[:WORST]
    return Section(
        title=f"Damage by class: {name}",
        text=_summary(answers, hurt),
        lines=_left_out(found, worst),
        header=("class or group", "lost", "right in torch", "share", "share of the others", "p (Holm)") if hurt else (),
        rows=[_row(each, answers) for each in hurt],
        plot=_bars(worst, {each.name for each in hurt}),
        alt="; ".join(f"{part.name}: {_count(part)}, drop {part.drop_points:.1f} points" for part in worst),
    )


def _summary(answers: Answers, hurt: Sequence[Damage]) -> str:
    lost, gained = int(answers.lost.sum()), int(answers.gained.sum())
    text = f"Of {len(answers):,} validation images, {lost:,} lost torch's right answer and {gained:,} gained one. "
    if not hurt:
        return text + "No class lost significantly more of them than the rest (Fisher's exact test, Holm, 5 %)."
    return text + "These lost significantly more of their right answers than the rest (Fisher's exact test, Holm, 5 %)."


def _left_out(found: Sequence[Part], worst: Sequence[Part]) -> list[str]:
    """That only the worst are drawn, when it is so."""
    losing = sum(part.lost > 0 for part in found)
    if losing == len(worst):
        return []
    return [
        f"The plot has the {len(worst)} that lost most of {losing:,} that lost any, in part by chance: the bounds are "
        "of each by itself."
    ]


def _few(found: Sequence[Part]) -> list[str]:
    """What small classes mean for the reader; every variant has the same images."""
    sizes = [part.samples for part in found]
    small = sum(size < FEW for size in sizes)
    if not small:
        return []
    return [
        f"Few samples: {small:,} of {len(found):,} classes (and groups) have fewer than {FEW} validation images (the "
        f"smallest {min(sizes)}), so that one answer is more than {100 / FEW:.0f} points; hatched bars say little."
    ]


def _row(each: Damage, answers: Answers) -> tuple[str, ...]:
    right, lost = int(np.sum(answers.reference == answers.truths)), int(answers.lost.sum())
    others = f"{(lost - each.lost) / (right - each.right):.1%}" if right > each.right else "–"
    share = f"{each.lost / each.right:.1%}"
    return each.name, str(each.lost), str(each.right), share, others, f"{each.p_value:.2g}"


def _bars(worst: Sequence[Part], hurt: set[str]) -> Figure:
    """The drop of each part with its one-sided 95 % bounds, and its counts in words."""
    figure = Figure(figsize=(6, 1.0 + 0.26 * len(worst)))
    axes = figure.subplots()
    counts = {(part.lost, part.gained, part.samples) for part in worst}
    bounds = {each: drop_bounds(*each) for each in counts}  # exact, hence slow, and many parts have the same counts
    for row, part in enumerate(worst):
        low, high = bounds[part.lost, part.gained, part.samples]
        marked, small = part.name in hurt, part.samples < FEW
        axes.barh(row, part.drop_points, color=MARKED if marked else PLAIN, height=0.7,
                  edgecolor="#555555", linewidth=0.5, hatch="////" if small else None)  # fmt: skip
        axes.plot([100 * low, 100 * high], [row, row], color="black", linewidth=1)
        axes.text(1.02, row, _count(part), transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    _label(axes, [("* " if part.name in hurt else "") + literal(part.name) for part in worst], starred=bool(hurt))
    return figure


def _label(axes: Axes, names: Sequence[str], *, starred: bool) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.axvline(0, color="grey", linewidth=0.8)
    note = "\n* significantly more than the rest" if starred else ""
    axes.set_xlabel(f"drop of the class, percentage points, with one-sided 95 % bounds{note}")


def _count(part: Part) -> str:
    gained = f", gained {part.gained}" if part.gained else ""
    return f"lost {part.lost}{gained} of {part.samples} images"
