"""A sweep as a page: the winner, the score of every trial, and how it hangs on the learning rate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edgetl.finetune.report.page import PLOT_WIDTH, Section, literal, write_page
from edgetl.finetune.sweep.outcome import SweepResult, TrialRecord

MARKS = {"complete": "o", "pruned": "x"}
HEADER = ("trial", "state", "score", "strategy", "options", "epochs", "seconds", "note")

CAUTION = (
    "A score is of images set aside for choices (cross-validated for feature-extraction), never of the headline split. "
    "The best of many scores is lucky too: expect a little less of new images, and trust the headline."
)


def write_sweep_report(path: Path, result: SweepResult) -> None:
    """Writes the page."""
    best = result.best
    summary = f"{len(result.trials)} trials. " + (
        f"The best is trial {best.number}: {result.metric} {best.score:.1%} on what was set aside for choices."
        if best
        else "None has ended well yet."
    )
    sections = [_headline(result), _by_trial(result), _by_rate(result), _table(result)]
    command = best.command if best else ""
    write_page(path, f"Sweep {Path(result.sweep).name}", summary, [each for each in sections if each], command)


def _headline(result: SweepResult) -> Section | None:
    if result.best is None:
        return None
    best = result.best
    lines = [f"{name}: {_cell(value)}" for name, value in best.options.items()]
    if best.metrics is None:
        text = f"Its run `{best.run}` is on another machine, and so are its headline metrics."
    else:
        scores = ", ".join(f"{name} {value:.1%}" for name, value in best.metrics.items() if name != "log_loss")
        text = f"On the headline split, {best.samples} {best.headline} images: {scores}."
    return Section(title="The winner", text=f"{text} {CAUTION}", lines=lines)


def _by_trial(result: SweepResult) -> Section | None:
    scored = [trial for trial in result.trials if trial.score is not None and trial.state in MARKS]
    if not scored:
        return None
    figure = _scatter(scored, [trial.number for trial in scored], result.metric, "trial")
    figure.axes[0].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    complete = [trial for trial in scored if trial.state == "complete"]
    tops = [max(each.score or 0.0 for each in complete[: i + 1]) for i in range(len(complete))]
    figure.axes[0].step(
        [trial.number for trial in complete], [100 * top for top in tops], where="post", color="grey", linewidth=1
    )
    words = f"Score of {len(scored)} trials by number; crosses were pruned, the line is the best so far."
    return Section(title="Score by trial", text=words, plot=figure, alt=words)


def _by_rate(result: SweepResult) -> Section | None:
    scored = [t for t in result.trials if t.score is not None and t.state in MARKS and "learning_rate" in t.options]
    if not scored:
        return None
    figure = _scatter(scored, [trial.options["learning_rate"] for trial in scored], result.metric, "learning rate")
    figure.axes[0].set_xscale("log")
    words = f"Score of {len(scored)} trials by learning rate; crosses were pruned."
    return Section(title="Score by learning rate", text=words, plot=figure, alt=words)


def _scatter(scored: Sequence[TrialRecord], places: Sequence[float], metric: str, axis: str) -> Figure:
    """Score (%) by place, a colour for each strategy, a mark for each state."""
    figure = Figure(figsize=(PLOT_WIDTH, 3.4))
    axes = figure.subplots()
    names = sorted({str(trial.options.get("strategy", "")) for trial in scored})
    for i, name in enumerate(names):
        for state, mark in MARKS.items():
            points = [
                (place, 100 * (trial.score or 0.0))
                for trial, place in zip(scored, places, strict=True)
                if trial.options.get("strategy", "") == name and trial.state == state
            ]
            if points:
                across, up = zip(*points, strict=True)
                axes.scatter(across, up, marker=mark, color=f"C{i}", label=literal(f"{name} {state}".strip()))
    axes.set(xlabel=axis, ylabel=f"{metric} on what was set aside (%)")
    if len(axes.collections) > 1:
        axes.legend(fontsize=8)
    return figure


def _table(result: SweepResult) -> Section:
    ended = result.ranked()
    others = [trial for trial in result.trials if trial.state != "complete"]
    text = f"{result.interrupted} more were interrupted and do not count." if result.interrupted else ""
    return Section(title="All trials", text=text, header=HEADER, rows=[_row(trial) for trial in (*ended, *others)])


def _row(trial: TrialRecord) -> tuple[str, ...]:
    options = {name: value for name, value in trial.options.items() if name != "strategy"}
    return (
        str(trial.number),
        trial.state,
        "–" if trial.score is None else f"{trial.score:.1%}",
        str(trial.options.get("strategy", "")),
        described(options),
        str(trial.epochs),
        f"{trial.seconds:.1f}",
        trial.message if trial.same_as is None else f"as trial {trial.same_as}",
    )


def described(options: dict[str, Any]) -> str:
    """Options in one line."""
    return ", ".join(f"{name} {_cell(value)}" for name, value in options.items())


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
