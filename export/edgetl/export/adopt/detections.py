"""From an imported detector's outputs to `boxes` and `scores`: which outputs hold them, and whether that can be."""

from collections.abc import Sequence

import msgspec
import numpy as np
from onnx import GraphProto

from edgetl.errors import ArtefactError, ConfigError
from edgetl.export.adopt.boxes import attach_boxes
from edgetl.export.adopt.layouts import LAYOUTS, Layout, read_layout
from edgetl.export.adopt.nodes import declare
from edgetl.export.adopt.original import Original
from edgetl.types import Array, Outputs, TensorSpec

PLAUSIBLE_SCORE = 1 + 1e-3
SURE = 0.25
"""Boxes of this score are looked at to tell whether the layout is right."""


class DetectionReading(msgspec.Struct, frozen=True, kw_only=True):
    """A layout with the names of the outputs that hold it, `boxes` and `scores`, the same where it is one.

    `rows`: boxes a photo; `labels`: how many; `size`: width and height of the input in pixels.
    """

    layout: Layout
    boxes: str
    scores: str
    rows: int
    labels: int
    size: tuple[int, int]

    inner: None = None

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """`boxes`, float32 (batch, rows, 4), and `scores`, float32 (batch, rows, labels)."""
        widths = {"boxes": 4, "scores": self.labels}
        return tuple(
            TensorSpec(name=name, dtype="float32", shape=("batch", self.rows, width)) for name, width in widths.items()
        )

    def read(self, outputs: Outputs) -> Outputs:
        """`boxes`, float32 (samples, rows, 4) in pixels of the input, `scores`, float32 (samples, rows, labels)."""
        return read_layout(self.layout, outputs[self.boxes], outputs[self.scores], self.labels, self.size)

    def attach(self, graph: GraphProto, prefix: str) -> None:
        """Puts it behind a graph whose tensors begin with `prefix`, in place of the graph's outputs."""
        attach_boxes(self.layout, graph, prefix + self.boxes, prefix + self.scores, labels=self.labels, size=self.size)
        declare(graph, self.outputs)


def detection_reading(
    original: Original,
    samples: Sequence[Outputs],
    labels: tuple[str, ...],
    size: tuple[int, int],
    *,
    layout: str,
    output: str | None,
) -> DetectionReading:
    """How the answers of `original` to some samples are to be read: `LAYOUTS[layout]`, in the outputs that fit it.

    Raises ConfigError or ArtefactError where none does, or where what is read are no boxes and scores.
    """
    found = _fitting(samples[0], LAYOUTS[layout], len(labels), output)
    if len(found) != 1:
        others = [name for name, other in LAYOUTS.items() if len(_fitting(samples[0], other, len(labels), output)) == 1]
        fits = f"`--layout {others[0]}` fits" if others else "labels.txt must name every label of the model"
        hint = "`--output NAME` chooses one" if found else fits
        what = "several outputs" if found else "no output"
        raise ConfigError(
            f"{what} of `{original.path}` can be `{layout}` with {len(labels)} labels: it has "
            f"{original.shown(original.outputs)}",
            hint=hint,
        )
    boxes, scores = found[0]
    if len({sample[scores].shape for sample in samples}) > 1:
        raise ArtefactError(
            f"`{scores}` of `{original.path}` has another number of rows for each photo",
            hint="export the model with a fixed number of rows, without suppression of repeated boxes",
        )
    reading = DetectionReading(
        layout=LAYOUTS[layout], boxes=boxes, scores=scores, rows=_rows(samples[0][scores], LAYOUTS[layout]),
        labels=len(labels), size=size,
    )  # fmt: skip
    _check_plausible(reading, samples, layout)
    return reading


def _rows(scores: Array, layout: Layout) -> int:
    return int(scores.shape[2 if layout.columns_first else 1])


def _fitting(sample: Outputs, layout: Layout, labels: int, output: str | None) -> list[tuple[str, str]]:
    """Pairs of outputs, or one twice, whose shapes are the layout's."""
    shapes = {name: value.shape for name, value in sample.items() if value.ndim == 3 and value.dtype.kind == "f"}
    scores = [
        name
        for name, shape in shapes.items()
        if shape[1 if layout.columns_first else 2] == layout.columns(labels) and output in (None, name)
    ]
    if layout.outputs == 1:
        return [(name, name) for name in scores]
    pairs = [
        (boxes, name)
        for name in scores
        for boxes, shape in shapes.items()
        if boxes != name and shape == (*shapes[name][:2], 4)
    ]
    # four scores look like a box; then the names must tell
    told = [(boxes, name) for boxes, name in pairs if "box" in boxes.lower() and "box" not in name.lower()]
    return told if len(pairs) > 1 and told else pairs


def _check_plausible(reading: DetectionReading, samples: Sequence[Outputs], layout: str) -> None:
    """Scores lie between 0 and 1, and sure boxes have a size and lie about the photo."""
    for sample in samples:
        answers = reading.read(sample)
        boxes, scores = answers["boxes"][0], answers["scores"][0]
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ArtefactError("the model answers with values that are not finite", hint="is the preprocessing right?")
        if scores.min() < 0 or scores.max() > PLAUSIBLE_SCORE:
            raise ConfigError(
                f"`{layout}` gives scores from {scores.min():.3g} to {scores.max():.3g}, not between 0 and 1",
                hint="it is another layout, or the model answers with logits",
            )
        sure = boxes[scores.max(axis=1, initial=0) >= SURE]
        if len(sure):
            _check_boxes(sure, reading, layout)


def _check_boxes(boxes: Array, reading: DetectionReading, layout: str) -> None:
    if not reading.layout.fractions and max(reading.size) > 8 and np.abs(boxes).max() <= 2:
        raise ConfigError(
            f"`{layout}` gives boxes within {np.abs(boxes).max():.2f} pixels of the corner: these are fractions",
            hint="export the model with boxes in pixels of its input",
        )
    upright = np.all(boxes[:, 2:] >= boxes[:, :2], axis=1)
    if np.mean(upright) < 0.9:
        raise ConfigError(
            f"`{layout}` gives boxes that end before they begin ({np.mean(~upright):.0%} of the sure ones)",
            hint="the model writes centre and size, or another order: choose another layout",
        )
    if np.mean(np.abs(boxes).max(axis=1) > 2 * max(reading.size)) > 0.5:
        raise ConfigError(
            f"`{layout}` gives boxes of up to {np.abs(boxes).max():.0f} pixels in an input of {max(reading.size)}",
            hint="it is another layout, or `size` is not the model's",
        )
