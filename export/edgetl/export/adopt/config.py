"""What `adopt` is asked."""

from typing import Literal

import msgspec

from edgetl.export.adopt.classes import Answers

Kind = Literal["image", "text", "detection"]


class AdoptConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How an ONNX file is to be read. `output`: which of its outputs; `layout`: of a detector's, as `LAYOUTS` has it.

    `answers`: what a classifier's output is; `auto` looks at the values. `drop_first`: it has a class in front that no
    label is for. `iou`: what boxes of a label may overlap, where the layout says an object several times. `unlabelled`:
    nothing is said to be true of the samples; the model's own answers are taken for it. `licence` of the weights, if
    the file does not say. Paths are as the user wrote them.
    """

    task: Kind
    labels: str
    preprocess: str
    golden: str
    calibration: str | None = None
    output: str | None = None
    layout: str | None = None
    answers: Answers = "auto"
    drop_first: bool = False
    unlabelled: bool = False
    score: float = 0.3
    iou: float = 0.5
    licence: str | None = None
