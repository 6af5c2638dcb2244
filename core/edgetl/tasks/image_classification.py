"""Image classification: pixels in, one label with its probability out."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np

from edgetl.tasks import classification
from edgetl.tasks.classification import Classification, best_labels, check_labels
from edgetl.tasks.images import (
    ImageInput,
    Sample,
    decoder_version,
    join_images,
    order_images,
    pixel_input,
    prepare,
    take_images,
)
from edgetl.tasks.labelled import Labelled, read_labelled, read_unlabelled
from edgetl.tasks.preparation import Color, Preparation, Prepared, ReadFile, SampleKind, Wishes
from edgetl.types import Array, Feeds, Outputs, TensorSpec


class ImageClassification(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag="image-classification",
    tag_field="task",
    forbid_unknown_fields=True,
):
    """Everything about the task that travels with the model.

    `mean` and `std` are per RGB channel on the 0–1 scale; they are applied inside the graph and recorded
    here so that a wrong one can be recognised. `temperature` divides the logits before the softmax, also inside.
    """

    labels: tuple[str, ...]
    input: ImageInput
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    temperature: float = 1.0

    files: ClassVar[tuple[str, ...]] = ()
    records: ClassVar[tuple[str, ...]] = ()
    compared: ClassVar[tuple[str, ...]] = ("logits",)
    metrics: ClassVar[tuple[str, ...]] = ("top1", "macro_f1")
    takes: ClassVar[SampleKind] = "image"
    answer: ClassVar[type[Classification]] = Classification
    extras: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_labels(self.labels)
        if min(self.std) <= 0 or self.temperature <= 0:
            raise ValueError("`std` and `temperature` must be positive")

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
        return classification.misfit(self.labels, self.inputs, inputs, outputs)

    def preparation(self, file: ReadFile) -> Preparation:
        """How samples become inputs; an image needs no file."""
        return self.prepare

    def prepare(self, samples: Sequence[Sample], *, color: Color = "rgb") -> Prepared:
        """As `preprocess`."""
        return Prepared(feeds=self.preprocess(samples, color=color))

    def preprocess(self, samples: Sequence[Sample], *, color: Color = "rgb") -> Feeds:
        """`image`: uint8 of shape (len(samples), height, width, 3). Raises DataError."""
        return {"image": np.stack([prepare(sample, self.input, color=color) for sample in samples])}

    def reader(self) -> str:
        """What decodes: two machines with the same string decode alike."""
        return decoder_version()

    order = staticmethod(order_images)
    take = staticmethod(take_images)
    join = staticmethod(join_images)

    def truths(self, labelled: Sequence[Labelled], sizes: Sequence[tuple[int, int]]) -> Array:
        """What is true of samples, as `findings` are: label indices, shape (samples,)."""
        return np.array([each.label for each in labelled], np.int32)

    def labelled(self, source: Path) -> list[Labelled]:
        """Labelled samples to judge by: FOLDER/LABEL/image, or the rows of a CSV. Raises DataError."""
        return read_labelled(source, self.labels)

    def unlabelled(self, source: Path) -> Sequence[Path | str]:
        """Samples without labels: the images below a folder. Raises DataError."""
        return read_unlabelled(source)

    def findings(self, outputs: Outputs) -> Array:
        """What is judged of each row of `outputs`: the best label's index, shape (batch,)."""
        return classification.best(outputs)

    def packed(self, findings: Array) -> Array:
        """`findings` as an array that a file holds."""
        return findings

    def unpacked(self, array: Array, samples: int) -> Array:
        """The reverse of `packed`, of so many samples. Raises ValueError for what does not fit."""
        return classification.as_labels(array, samples, len(self.labels))

    def answers(self, outputs: Outputs, sizes: Sequence[tuple[int, int]], wishes: Wishes) -> list[Classification]:
        """One for each row of `outputs`. Raises ConfigError for a wish nobody can grant."""
        return self.postprocess(outputs, top=wishes.top)

    def postprocess(self, outputs: Outputs, *, top: int = 5) -> list[Classification]:
        """The `top` labels of each row of `probabilities`, shape (batch, labels). Raises ConfigError below 1."""
        return best_labels(outputs, self.labels, top)

    def score(self, predictions: Array, truths: Array) -> dict[str, float]:
        """`top1` (0–1) from predicted and true label indices, each of shape (samples,)."""
        return classification.top1(predictions, truths)
