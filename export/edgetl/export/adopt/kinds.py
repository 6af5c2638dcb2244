"""What adopting a model differs in between the tasks: one row each."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from onnx import GraphProto, ModelProto

from edgetl.errors import ConfigError, suggest
from edgetl.export.adopt.classes import before_sigmoid, class_reading
from edgetl.export.adopt.config import AdoptConfig
from edgetl.export.adopt.detections import detection_reading
from edgetl.export.adopt.images import image_wiring
from edgetl.export.adopt.layouts import LAYOUTS
from edgetl.export.adopt.original import Original
from edgetl.export.adopt.preprocess import read_image_preprocess, read_text_preprocess
from edgetl.export.adopt.texts import text_wiring
from edgetl.files import configured
from edgetl.tasks import ImageClassification, ObjectDetection, Task, TextClassification
from edgetl.tasks.detections import in_photo
from edgetl.tasks.images import opened
from edgetl.tasks.labelled import Labelled
from edgetl.types import Array, Feeds, Outputs, TensorSpec


class Wiring(Protocol):
    """From the task's inputs to those of the file, in numpy and as nodes in front of its graph; `under`: the same with
    a fault each, by name.
    """

    def feed(self, feeds: Feeds) -> dict[str, Array]: ...

    def under(self, task: Task) -> dict[str, Callable[[Feeds], dict[str, Array]]]: ...

    def shapes(self, batch: int) -> dict[str, tuple[int, ...]]: ...

    def attach(self, graph: GraphProto, prefix: str) -> None: ...


class Reading(Protocol):
    """From the outputs of the file to those of the task, in numpy and as nodes behind its graph."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def inner(self) -> str | None: ...

    def read(self, outputs: Outputs) -> Outputs: ...

    def attach(self, graph: GraphProto, prefix: str) -> None: ...


class Inlet(msgspec.Struct, frozen=True, kw_only=True):
    """The task, how its inputs reach the file, and the `files` that travel beside it, by name."""

    task: Task
    wiring: Wiring
    files: Mapping[str, Path] = {}


class AdoptedKind(msgspec.Struct, frozen=True, kw_only=True):
    """`inlet`: from preprocess.toml and labels. `reading`: what the file's answers to some samples are. `truth`: a
    sample with the model's own answer in place of what is true of it.
    """

    inlet: Callable[[Original, AdoptConfig, tuple[str, ...]], Inlet]
    reading: Callable[[Original, ModelProto, Sequence[Outputs], Task, AdoptConfig], Reading]
    truth: Callable[[Labelled, Outputs, Task], Labelled]


def _image(original: Original, config: AdoptConfig, labels: tuple[str, ...]) -> Inlet:
    said = read_image_preprocess(Path(config.preprocess))
    mean, std = said.rgb()
    task = configured({"labels": labels, "input": said.input, "mean": mean, "std": std}, ImageClassification)
    return Inlet(task=task, wiring=image_wiring(original, said))


def _text(original: Original, config: AdoptConfig, labels: tuple[str, ...]) -> Inlet:
    said = read_text_preprocess(Path(config.preprocess))
    spec = {"max_length": said.max_length, "pad_id": said.pad_id}
    task = configured({"labels": labels, "input": spec}, TextClassification)
    return Inlet(task=task, wiring=text_wiring(original, said), files={"tokenizer.json": Path(said.tokenizer)})


def _detection(original: Original, config: AdoptConfig, labels: tuple[str, ...]) -> Inlet:
    said = read_image_preprocess(Path(config.preprocess))
    if config.layout not in LAYOUTS:
        asked = f"`{config.layout}` is no layout of a detector's answers" if config.layout else "which layout is it?"
        raise ConfigError(asked, hint=suggest(config.layout or "", LAYOUTS, what="`--layout` takes"))
    layout, (mean, std) = LAYOUTS[config.layout], said.rgb()
    values = {
        "labels": labels, "input": said.input, "mean": mean, "std": std, "score_threshold": config.score,
        "iou_threshold": config.iou if layout.repeats else None, "ordered": layout.ordered,
    }  # fmt: skip
    return Inlet(task=configured(values, ObjectDetection), wiring=image_wiring(original, said))


def _classes(
    original: Original, model: ModelProto, samples: Sequence[Outputs], task: Task, config: AdoptConfig
) -> Reading:
    reading = class_reading(
        original, samples, task.labels, output=config.output, answers=config.answers, drop_first=config.drop_first
    )
    return before_sigmoid(model, original.path, reading)


def _boxes(
    original: Original, model: ModelProto, samples: Sequence[Outputs], task: Task, config: AdoptConfig
) -> Reading:
    assert isinstance(task, ObjectDetection) and config.layout
    size = task.input.width, task.input.height
    return detection_reading(original, samples, task.labels, size, layout=config.layout, output=config.output)


def _own_label(sample: Labelled, outputs: Outputs, task: Task) -> Labelled:
    return msgspec.structs.replace(sample, label=int(outputs["logits"][0].argmax()))


def _own_boxes(sample: Labelled, outputs: Outputs, task: Task) -> Labelled:
    assert isinstance(task, ObjectDetection)
    each = task.found(outputs, threshold=task.score_threshold)[0]
    with_size = opened(sample.sample)
    boxes = in_photo(each.boxes, with_size.size, task.input)
    own = msgspec.structs.replace(each, boxes=boxes, scores=np.ones_like(each.scores))
    return msgspec.structs.replace(sample, objects=own)


KINDS = {
    "image": AdoptedKind(inlet=_image, reading=_classes, truth=_own_label),
    "text": AdoptedKind(inlet=_text, reading=_classes, truth=_own_label),
    "detection": AdoptedKind(inlet=_detection, reading=_boxes, truth=_own_boxes),
}
