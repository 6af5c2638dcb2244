"""What a run's report says about trust: whether the probabilities hold, and where the model is sure and wrong."""

import io
from collections.abc import Sequence
from pathlib import PurePath

import msgspec
from matplotlib.figure import Figure
from PIL import Image

from edgetl.finetune.evaluation.calibration import Answers, expected_calibration_error, reliability
from edgetl.finetune.report.page import PLOT_WIDTH, Picture, Section
from edgetl.types import Pixels

MAX_MISTAKES = 24
THUMBNAIL_SIDE = 112
"""Pixels: with 24 of them the page stays far below a megabyte."""


class Mistake(msgspec.Struct, frozen=True, kw_only=True):
    """A wrong answer: the true and the predicted label's name, its probability, and what was shown.

    That is uint8 RGB pixels (height, width, 3), or a text.
    """

    path: str
    truth: str
    predicted: str
    probability: float
    shown: Pixels | str


def reliability_section(before: Answers | None, after: Answers | None, temperature: float, what: str) -> Section:
    """How far confidence and accuracy agree, `before` and `after` the temperature."""
    named = [("as trained", before), (f"with temperature {temperature:.3g}", after)]
    errors = [
        f"{name}: {expected_calibration_error(given.confidence, given.correct):.1%} on {len(given.confidence)} {what}"
        for name, given in named
        if given is not None
    ]
    figure, words = _diagram(before, after, what)
    text = f"Expected calibration error: {'; '.join(errors)}. On the diagonal the model is right as often as it claims."
    return Section(title="Reliability", text=text, plot=figure, alt=words)


def mistakes_section(mistakes: Sequence[Mistake]) -> Section:
    """The most confident of the mistakes: pictures as thumbnails, texts in a table."""
    worst = sorted(mistakes, key=lambda mistake: -mistake.probability)[:MAX_MISTAKES]
    text = f"The {len(worst)} wrong answers with the highest probability; each may be a wrong label as well."
    rows = [(each.shown, each.truth, f"{each.predicted}, {each.probability:.1%}", each.path)
            for each in worst if isinstance(each.shown, str)]  # fmt: skip
    pictures = [_picture(each, each.shown) for each in worst if not isinstance(each.shown, str)]
    header = ("text", "true", "said", "row") if rows else ()
    return Section(title="Most confident mistakes", text=text, pictures=pictures, header=header, rows=rows)


def _picture(mistake: Mistake, pixels: Pixels) -> Picture:
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    image.save(stream, "JPEG", quality=80)
    probability, name = f"{mistake.probability:.1%}", PurePath(mistake.path).name
    return Picture(
        alt=f"{name}: {mistake.truth}, taken for {mistake.predicted} at {probability}",
        caption=(f"true: {mistake.truth}", f"said: {mistake.predicted}, {probability}", name),
        jpeg=stream.getvalue(),
    )


def _diagram(before: Answers | None, after: Answers | None, what: str) -> tuple[Figure, str]:
    """Accuracy by confidence above the share of images in each bin, without and with the temperature."""
    figure = Figure(figsize=(PLOT_WIDTH, 5.4))
    axes, shares = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 100], [0, 100], color="grey", linewidth=0.8)
    words = []
    drawn = (("as trained", before, "tab:orange", "--"), ("with temperature", after, "tab:blue", "-"))
    for name, given, colour, style in drawn:
        if given is None:
            continue
        bins = reliability(given.confidence, given.correct)
        x, y = [100 * part.confidence for part in bins], [100 * part.accuracy for part in bins]
        axes.plot(x, y, style, marker="o", markersize=4, color=colour, label=name)
        heights = [100 * part.samples / len(given.confidence) for part in bins]
        edges = [100 * part.low for part in bins]
        width = 100 * (bins[0].high - bins[0].low)
        shares.bar(edges, heights, width=width, align="edge", edgecolor=colour, fill=False, linestyle=style)
        words.append(f"{name}: mean confidence {given.confidence.mean():.1%}, right {given.correct.mean():.1%}")
    axes.set(ylabel="right (%)", xlim=(0, 100), ylim=(0, 102))
    axes.legend(fontsize=9, loc="upper left")
    shares.set(xlabel="confidence (%)", ylabel=f"{what} (%)")
    figure.align_ylabels()
    figure.tight_layout()
    return figure, "Reliability diagram; " + "; ".join(words) + "."
