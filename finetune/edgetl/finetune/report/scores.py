"""What a run's report says about the model: its scores and who is taken for whom."""

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest

from edgetl.finetune.evaluation.metrics import Evaluation
from edgetl.finetune.report.page import PLOT_WIDTH, Section, literal

MAX_LISTED_CLASSES = 50
"""With more labels the table of classes has only the worst: nobody reads a thousand rows."""

WORST_CLASSES = 20
MAX_MATRIX_CLASSES = 30
"""With more labels the numbers in the confusion matrix would be too small to read."""

FREQUENT_CONFUSIONS = 20
NAMES = {
    "top1": "top-1",
    "top5": "top-5",
    "macro_f1": "macro-F1 (mean over the classes)",
    "balanced_accuracy": "balanced accuracy (mean recall)",
    "ece": "expected calibration error (15 bins)",
    "log_loss": "log-loss, nats",
}


def score_sections(evaluation: Evaluation, split: str, what: str) -> list[Section]:
    """The scores on `split`, those of each class, and the confusions."""
    rows = [
        (NAMES.get(name, name), shown(name, v), _interval(name, v, evaluation))
        for name, v in evaluation.metrics.items()
    ]
    text = f"On {evaluation.samples} {split} {what}; intervals are Wilson's, 95 %."
    scores = Section(title="Scores", text=text, header=("metric", "value", "interval"), rows=rows)
    return [scores, _classes(evaluation, what), _confusion(evaluation, what)]


def shown(name: str, value: float) -> str:
    """A metric as people read it: a percentage, or a loss in nats."""
    return f"{value:.3f}" if name.endswith("loss") else f"{value:.1%}"


def _interval(name: str, value: float, evaluation: Evaluation) -> str:
    """Only shares of independent images have one; the others would need resampling."""
    if name not in ("top1", "top5"):
        return "–"
    hits = round(value * evaluation.samples)
    bounds = binomtest(hits, evaluation.samples).proportion_ci(method="wilson")
    return f"{bounds.low:.1%} … {bounds.high:.1%}"


def _classes(evaluation: Evaluation, what: str) -> Section:
    scores, text = list(evaluation.classes), ""
    if len(scores) > MAX_LISTED_CLASSES:
        occurring = [score for score in scores if score.samples]
        scores = sorted(occurring, key=lambda score: score.f1)[:WORST_CLASSES]
        text = f"The {len(scores)} lowest by F1 of {len(evaluation.classes)} classes."
    rows = [
        (s.label, str(s.samples), *(f"{v:.1%}" if s.samples else "–" for v in (s.precision, s.recall, s.f1)))
        for s in scores
    ]
    return Section(title="Classes", text=text, header=("class", what, "precision", "recall", "F1"), rows=rows)


def _confusion(evaluation: Evaluation, what: str) -> Section:
    """A matrix while it can be read, else the most frequent confusions."""
    names = [score.label for score in evaluation.classes]
    if len(names) <= MAX_MATRIX_CLASSES:
        figure, words = _matrix(evaluation, what)
        text = f"{what.capitalize()} by true (row) and predicted (column) label; "
        text += "the darker, the larger the share of its row."
        return Section(title="Confusion matrix", text=text, plot=figure, alt=words)
    wrong = sorted((cell for cell in evaluation.confusion if cell[0] != cell[1]), key=lambda cell: -cell[2])
    images = {score.label: score.samples for score in evaluation.classes}
    rows = [
        (names[true], names[predicted], str(count), f"{count / images[names[true]]:.1%}")
        for true, predicted, count in wrong[:FREQUENT_CONFUSIONS]
    ]
    text = (
        f"The {len(rows)} most frequent of {len(wrong)} kinds."
        if rows
        else f"No {what.removesuffix('s')} was taken for another label."
    )
    header = ("true", "predicted", what, "share of the true label")
    return Section(title="Confusions", text=text, header=header, rows=rows)


def _matrix(evaluation: Evaluation, what: str) -> tuple[Figure, str]:
    """Counts in a grid of true by predicted label; the colour is the share of the true label's samples."""
    names = [score.label for score in evaluation.classes]
    counts = np.zeros((len(names), len(names)), np.int64)
    for true, predicted, count in evaluation.confusion:
        counts[true, predicted] = count
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    side = max(PLOT_WIDTH - 2, (0.45 if len(names) <= 12 else 0.32) * len(names))
    figure = Figure(figsize=(side + 1.2, side + 1.2))
    axes = figure.subplots()
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=0.5)
    for true, predicted in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[true, predicted] > 0.5 else "black"
        text = _short(int(counts[true, predicted]))
        size = 10 if len(names) <= 12 else 7.5
        axes.text(predicted + 0.5, true + 0.5, text, ha="center", va="center", color=colour, fontsize=size)
    ticks, shown = np.arange(len(names)) + 0.5, [literal(name) for name in names]
    upright = len(names) > 4 or max(map(len, shown)) > 12
    axes.set_xticks(ticks, shown, rotation=90 if upright else 0, fontsize=10 if len(names) <= 12 else 8)
    axes.set_yticks(ticks, shown, fontsize=10 if len(names) <= 12 else 8)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted", ylabel="true", aspect="equal")
    axes.invert_yaxis()
    right = int(np.trace(counts))
    return figure, f"Confusion matrix of {len(names)} labels: {right} of {counts.sum()} {what} lie on the diagonal."


def _short(count: int) -> str:
    """At most four characters, which is what a cell of 30 holds."""
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"
