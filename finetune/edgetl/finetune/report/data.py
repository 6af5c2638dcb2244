"""What a run's report says about its data: how many images of which class, and what speaks against them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from edgetl.finetune.material import Classifier
from edgetl.finetune.report.page import PLOT_WIDTH, Section, literal
from edgetl.run import Run, SampleRecord

MAX_BARS = 50
"""With more labels a chart of one bar each no longer fits a screen; the table has the smallest and the largest."""

MAX_NAMES = 20
"""Labels and left-out files beyond this are only counted; run.json has them all."""


def data_sections(
    run: Run, task: Classifier, samples: Sequence[SampleRecord], lines: Sequence[str], given: str, what: str
) -> list[Section]:
    """Splits and classes of the samples, which are called `what`; `given`: what the model takes, in words.

    `lines`: findings in words, such as imbalance and leakage.
    """
    sizes = _sizes(run, task, samples)
    header = ("split", what, f"{what} a class") if sizes else ("split", what)
    rows = [(split, str(count), *_range(sizes, split)) for split, count in run.data.counts.items()]
    facts = [
        ("labels", _first(task.labels)),
        *([("input", given)] if given else []),
        *([("left out (cannot be decoded)", _first(run.data.skipped))] if run.data.skipped else []),
    ]
    split = "; val was split from train" if "val" in run.data.split_from_train else ""
    text = f"Fingerprint {run.data.fingerprint[:16]}…{split}"
    sections = [Section(title="Data", text=text, lines=lines, header=header, rows=rows)]
    if sizes and len(task.labels) <= MAX_BARS:
        sections.append(_samples_per_class(sizes, task.labels, what))
    return [*sections, Section(title="Labels and input", rows=facts)]


def _sizes(run: Run, task: Classifier, samples: Sequence[SampleRecord]) -> dict[str, NDArray[np.int64]]:
    """Images of each label, shape (labels,), for each split; empty when the samples are not known."""
    if not samples:
        return {}
    return {
        split: np.bincount([s.label for s in samples if s.split == split], minlength=len(task.labels))
        for split in run.data.counts
    }


def _range(sizes: dict[str, NDArray[np.int64]], split: str) -> tuple[str, ...]:
    if split not in sizes:
        return ()
    low, high = int(sizes[split].min()), int(sizes[split].max())
    return (str(low) if low == high else f"{low} … {high}",)


def _first(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _samples_per_class(sizes: dict[str, NDArray[np.int64]], labels: Sequence[str], what: str) -> Section:
    """One bar a label, its splits side by side; `sizes`: the images of each label, shape (labels,), for each split."""
    figure = Figure(figsize=(PLOT_WIDTH, 0.8 + max(0.22 * len(labels), 0.3 * min(len(labels), 6))))
    axes = figure.subplots()
    left = np.zeros(len(labels))
    for (split, images), colour in zip(sizes.items(), ("tab:blue", "tab:orange", "tab:green"), strict=False):
        axes.barh(range(len(labels)), images, left=left, label=split, color=colour, height=0.75)
        left += images
    axes.set_yticks(range(len(labels)), [literal(label) for label in labels], fontsize=9 if len(labels) > 12 else 10)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlabel(what)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.legend(fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(sizes), frameon=False)
    few, many = int(left.argmin()), int(left.argmax())
    alt = f"From {left[few]:.0f} {what} ({labels[few]}) to {left[many]:.0f} ({labels[many]}) in {len(labels)} classes."
    return Section(title=f"{what.capitalize()} a class", plot=figure, alt=alt)
