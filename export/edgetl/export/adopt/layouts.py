"""How detectors write down boxes and scores: the known layouts as data, and read in numpy.

`yolov8`: Ultralytics' YOLOv8, 9, 11 and 12. `yolov5`: YOLOv5 and YOLOv7, with objectness. `yolov10`, `end2end`: exports
that say each object once. `detr`: RT-DETR and D-FINE, `detr-softmax`: DETR. `boxes-scores`: two plain outputs.
"""

from collections.abc import Callable
from typing import Literal

import msgspec
import numpy as np

from edgetl.types import Array, Outputs


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """`box`: centre and size, or corners, in `fractions` of the input or in its pixels.

    `extra`: columns beside four of the box and one a label; `columns_first`: (batch, columns, rows). `scores`: as they
    are, times an objectness in front of them, one score with the number of its label behind it, or logits: each by a
    sigmoid, or by a softmax with `nothing` as the last column. `outputs`: one with all columns, or boxes and scores.
    `repeats`: an object may have several boxes; `ordered`: row i is the same place whatever the photo.
    """

    box: Literal["centre", "corners"]
    fractions: bool = False
    scores: Literal["plain", "objectness", "number", "sigmoid", "softmax"]
    columns_first: bool = False
    outputs: Literal[1, 2] = 1
    repeats: bool = True
    ordered: bool = True

    def columns(self, labels: int) -> int:
        """Of the output that holds the scores."""
        if self.scores == "number":
            return 6
        return (4 if self.outputs == 1 else 0) + labels + (self.scores in ("objectness", "softmax"))


LAYOUTS = {
    "yolov8": Layout(box="centre", scores="plain", columns_first=True),
    "yolov5": Layout(box="centre", scores="objectness"),
    "end2end": Layout(box="corners", scores="number", repeats=False, ordered=False),
    "yolov10": Layout(box="corners", scores="number", repeats=False, ordered=False),
    "detr": Layout(box="centre", fractions=True, scores="sigmoid", outputs=2, repeats=False, ordered=False),
    "detr-softmax": Layout(box="centre", fractions=True, scores="softmax", outputs=2, repeats=False),
    "boxes-scores": Layout(box="corners", scores="plain", outputs=2),
}


def read_layout(layout: Layout, boxes: Array, scores: Array, labels: int, size: tuple[int, int]) -> Outputs:
    """`boxes`, float32 (samples, rows, 4) in pixels of an input of `size` (width, height), and `scores`, float32
    (samples, rows, labels), from the model's outputs of them, which are the same array where it has one.
    """
    if layout.columns_first:
        boxes, scores = boxes.transpose(0, 2, 1), scores.transpose(0, 2, 1)
    corners = _corners(boxes[..., :4].astype(np.float64), layout)
    pixels = corners * np.array(size * 2) if layout.fractions else corners
    columns = (scores[..., 4:] if layout.outputs == 1 else scores).astype(np.float64)
    return {
        "boxes": pixels.astype(np.float32),
        "scores": SCORES[layout.scores](columns, labels).astype(np.float32),
    }


def _corners(boxes: Array, layout: Layout) -> Array:
    if layout.box == "corners":
        return boxes
    half = boxes[..., 2:] / 2
    return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)


def _numbered(columns: Array, labels: int) -> Array:
    """A column of scores and one of label numbers as a column a label."""
    return np.asarray(columns[..., :1] * (np.round(columns[..., 1:2]) == np.arange(labels)))


def _softmax(columns: Array, labels: int) -> Array:
    powers = np.exp(columns - columns.max(axis=-1, keepdims=True))
    return np.asarray((powers / powers.sum(axis=-1, keepdims=True))[..., :labels])


SCORES: dict[str, Callable[[Array, int], Array]] = {
    "plain": lambda columns, labels: columns,
    "objectness": lambda columns, labels: columns[..., :1] * columns[..., 1:],
    "number": _numbered,
    "sigmoid": lambda columns, labels: 1 / (1 + np.exp(-columns)),
    "softmax": _softmax,
}
