"""Object detection: pixels in, labelled boxes out."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np

from edgetl.errors import ConfigError, DataError
from edgetl.tasks.classification import check_labels
from edgetl.tasks.detections import (
    LEAST_SCORE,
    Detections,
    Found,
    as_array,
    detections,
    found,
    in_input,
    in_photo,
    packed,
    unpacked,
)
from edgetl.tasks.images import (
    ImageInput,
    Sample,
    decoder_version,
    join_images,
    opened,
    order_images,
    pixel_input,
    resize,
    take_images,
)
from edgetl.tasks.labelled import Labelled, read_unlabelled
from edgetl.tasks.preparation import Color, Preparation, Prepared, ReadFile, SampleKind, Wishes
from edgetl.types import Array, Feeds, Outputs, TensorSpec


class ObjectDetection(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag="object-detection",
    tag_field="task",
    forbid_unknown_fields=True,
):
    """Everything about the task that travels with the model.

    The graph reads `image` and answers with `boxes`, float32 (batch, rows, 4): left, top, right, bottom in pixels of
    the input, and `scores`, float32 (batch, rows, labels), 0–1. `iou_threshold`: what two boxes of a label may overlap;
    None for a model that says each object once. `score_threshold`: what counts as found, unless the caller says.
    `ordered`: row i is the same place for every engine, so that rows can be compared one by one.
    """

    labels: tuple[str, ...]
    input: ImageInput
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    score_threshold: float = 0.3
    iou_threshold: float | None = 0.5
    max_objects: int = 100
    ordered: bool = True

    files: ClassVar[tuple[str, ...]] = ()
    records: ClassVar[tuple[str, ...]] = ("boxes.json",)
    compared: ClassVar[tuple[str, ...]] = ("boxes", "scores")
    metrics: ClassVar[tuple[str, ...]] = ("map50", "map")
    takes: ClassVar[SampleKind] = "image"
    answer: ClassVar[type[Detections]] = Detections
    extras: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_labels(self.labels)
        if self.input.mode == "crop":
            raise ValueError("a detector must see all of the photo: `letterbox` or `squash`")
        if min(self.std) <= 0:
            raise ValueError("`std` must be positive")
        if not 0 <= self.score_threshold <= 1 or not 0 < (self.iou_threshold or 1) <= 1 or self.max_objects < 1:
            raise ValueError("thresholds lie between 0 and 1, and there must be room for one object")

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the graph reads: `image`, uint8 RGB of shape (batch, height, width, 3)."""
        return (pixel_input(self.input),)

    @property
    def longest(self) -> dict[str, int]:
        """What the dynamic axes of an input hold at most, by name; only the batch is dynamic, and has no bound."""
        return {}

    def misfit(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> str | None:
        """Why a graph of these tensors cannot do this task, or None."""
        shapes = {spec.name: spec.shape for spec in outputs}
        boxes, scores = shapes.get("boxes", ()), shapes.get("scores", ())
        if len(boxes) != 3 or len(scores) != 3 or boxes[1] != scores[1] or boxes[2] != 4:
            return "a detector answers with `boxes` (batch, rows, 4) and `scores` (batch, rows, labels)"
        if scores[2] != len(self.labels):
            return f"{len(self.labels)} labels for outputs of another size"
        if [(spec.name, spec.dtype, spec.shape[1:]) for spec in inputs] != [
            (spec.name, spec.dtype, spec.shape[1:]) for spec in self.inputs
        ]:
            return "the input tensor is not the task's"
        return None

    def preparation(self, file: ReadFile) -> Preparation:
        """How samples become inputs; an image needs no file."""
        return self.prepare

    def prepare(self, samples: Sequence[Sample], *, color: Color = "rgb") -> Prepared:
        """`image`: uint8 of shape (len(samples), height, width, 3), and the photos' sizes. Raises DataError."""
        images = [opened(sample, color=color) for sample in samples]
        pixels = np.stack([np.asarray(resize(image, self.input)) for image in images])
        return Prepared(feeds={"image": pixels}, sizes=tuple(image.size for image in images))

    def preprocess(self, samples: Sequence[Sample], *, color: Color = "rgb") -> Feeds:
        """The inputs alone, as `prepare`."""
        return self.prepare(samples, color=color).feeds

    def reader(self) -> str:
        """What decodes: two machines with the same string decode alike."""
        return decoder_version()

    order = staticmethod(order_images)
    take = staticmethod(take_images)
    join = staticmethod(join_images)

    def found(self, outputs: Outputs, *, threshold: float) -> list[Found]:
        """The objects of each row of `outputs` with boxes in pixels of the input."""
        return [
            found(boxes, scores, threshold=threshold, iou=self.iou_threshold, most=self.max_objects)
            for boxes, scores in zip(outputs["boxes"], outputs["scores"], strict=True)
        ]

    def truths(self, labelled: Sequence[Labelled], sizes: Sequence[tuple[int, int]]) -> Array:
        """What is true of photos of these sizes, as `findings` are: objects in pixels of the input."""
        photos = [
            msgspec.structs.replace(each.objects, boxes=in_input(each.objects.boxes, size, self.input))
            for each, size in zip(labelled, sizes, strict=True)
            if each.objects is not None
        ]
        if len(photos) != len(labelled):
            raise DataError("a photo has no list of its objects", hint="photos without any need an empty list")
        return as_array(photos)

    def labelled(self, source: Path) -> list[Labelled]:
        """Labelled photos to judge by: a data set in COCO's, Pascal VOC's or YOLO's layout. Raises DataError."""
        from edgetl.tasks.boxed import read_boxed  # reads files of three kinds, which only judging new photos needs

        return read_boxed(source, self.labels)

    def unlabelled(self, source: Path) -> Sequence[Path | str]:
        """Photos without labels: the images below a folder. Raises DataError."""
        return read_unlabelled(source)

    def findings(self, outputs: Outputs) -> Array:
        """What is judged of each row of `outputs`: its objects, `Found` in an array of shape (batch,)."""
        return as_array(self.found(outputs, threshold=LEAST_SCORE))

    def packed(self, findings: Array) -> Array:
        """`findings` as an array that a file holds."""
        return packed(findings)

    def unpacked(self, array: Array, samples: int) -> Array:
        """The reverse of `packed`, of so many samples. Raises ValueError for what does not fit."""
        return unpacked(array, samples, len(self.labels))

    def answers(self, outputs: Outputs, sizes: Sequence[tuple[int, int]], wishes: Wishes) -> list[Detections]:
        """One for each photo of `sizes` (width, height). Raises ConfigError for a wish nobody can grant."""
        threshold = self.score_threshold if wishes.threshold is None else wishes.threshold
        if not 0 <= threshold <= 1:
            raise ConfigError(f"`threshold` cannot be `{threshold}`", hint="it is a score between 0 and 1")
        return [
            detections(msgspec.structs.replace(each, boxes=in_photo(each.boxes, size, self.input)), self.labels)
            for each, size in zip(self.found(outputs, threshold=threshold), sizes, strict=True)
        ]
