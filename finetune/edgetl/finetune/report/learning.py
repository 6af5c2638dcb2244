"""What a run's report says about learning: the curves of the epochs and the choice of the head's regularisation."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edgetl.finetune.head.logistic import Candidate
from edgetl.finetune.report.page import PLOT_WIDTH, Section


@runtime_checkable
class EpochLine(Protocol):
    """One line of metrics.jsonl; it may also have `val_loss` and `val_metric` (a fraction of 1, or a log-loss)."""

    @property
    def epoch(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def train_top1(self) -> float | None: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def seconds(self) -> float: ...


def learning_section(
    epochs: Sequence[EpochLine], scratch: Sequence[EpochLine], metric: str, comparison: Sequence[str], what: str
) -> Section:
    """Loss, the held-out `metric` and learning rate by epoch; a run from `scratch` is drawn dashed beside it.

    `comparison`: what transfer gained over scratch, in words.
    """
    figure, words = _curves(epochs, scratch, metric)
    text = "The training loss is over the batches as they were drawn" + (
        f"; held-out are the {what} kept aside for choosing." if _values(epochs, "val_metric") else "."
    )
    seconds = sum(epoch.seconds for epoch in epochs)
    text += f" {len(epochs)} epochs took {seconds:.0f} s."
    return Section(title="Learning curves", text=text, lines=comparison, plot=figure, alt=words)


def regularisation_section(candidates: Sequence[Candidate]) -> Section:
    """Cross-validated log-loss by C, and which C was chosen."""
    figure = Figure(figsize=(PLOT_WIDTH, 3))
    axes = figure.subplots()
    axes.semilogx([c.c for c in candidates], [c.log_loss for c in candidates], marker="o")
    axes.set(xlabel="C (weaker regularisation to the right)", ylabel="cross-validated log-loss")
    best = min(candidates, key=lambda candidate: candidate.log_loss)
    text = f"Chosen inside train: C = {best.c:g}, log-loss {best.log_loss:.3f}, top-1 {best.top1:.1%}."
    return Section(title="Regularisation of the head", text=text, plot=figure, alt=text)


def _curves(epochs: Sequence[EpochLine], scratch: Sequence[EpochLine], metric: str) -> tuple[Figure, str]:
    """The figure and its words."""
    figure = Figure(figsize=(PLOT_WIDTH, 6.4))
    loss, score, rate = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    held_out = bool(_values(epochs, "val_metric"))
    values, name = ("val_metric", f"held-out {metric}") if held_out else ("train_top1", "training top-1")
    scale = 1 if held_out and metric.endswith("loss") else 100
    runs = [("", "-", epochs)] + ([("from scratch, ", "--", scratch)] if scratch else [])
    for prefix, style, lines in runs:
        _draw(loss, lines, "loss", 1, style, "tab:blue", f"{prefix}training")
        _draw(loss, lines, "val_loss", 1, style, "tab:orange", f"{prefix}held-out")
        _draw(score, lines, values, scale, style, "tab:green", f"{prefix}{name}")
    _draw(rate, epochs, "learning_rate", 1, "-", "tab:grey", "learning rate")
    loss.set_ylabel("loss")
    score.set_ylabel(name if scale == 1 else f"{name} (%)")
    rate.set(ylabel="learning rate", xlabel="epoch")
    rate.set_ylim(bottom=0)
    rate.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axes in (loss, score):
        if len(axes.lines) > 1:
            axes.legend(fontsize=9)
    figure.align_ylabels()
    figure.tight_layout()
    words = [_course(lines, "loss", f"{prefix}training loss", 1) for prefix, _, lines in runs]
    words += [_course(lines, values, f"{prefix}{name}", scale) for prefix, _, lines in runs]
    return figure, f"Over {len(epochs)} epochs: " + "; ".join(word for word in words if word) + "."


def _draw(
    axes: Axes, lines: Sequence[EpochLine], attribute: str, scale: float, style: str, colour: str, name: str
) -> None:
    """One curve, if any epoch has this value."""
    points = _values(lines, attribute)
    if points:
        numbers, values = zip(*points, strict=True)
        marker = "o" if len(points) < 15 else ""
        heights = [scale * value for value in values]
        axes.plot(numbers, heights, style, color=colour, label=name, marker=marker, markersize=3)


def _values(lines: Sequence[EpochLine], attribute: str) -> list[tuple[int, float]]:
    """(epoch, value) where there is one; counted through when a second phase starts at 1 again."""
    rising = all(one.epoch < other.epoch for one, other in pairwise(lines))
    found = [(line.epoch if rising else i, getattr(line, attribute, None)) for i, line in enumerate(lines, 1)]
    return [(number, float(value)) for number, value in found if value is not None and math.isfinite(value)]


def _course(lines: Sequence[EpochLine], attribute: str, name: str, scale: float) -> str:
    values = [scale * value for _, value in _values(lines, attribute)]
    unit = "" if scale == 1 else " %"
    return f"{name} from {values[0]:.3g}{unit} to {values[-1]:.3g}{unit}" if values else ""
