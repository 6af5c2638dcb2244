"""Image classification: pixels in, one label with its probability out."""

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from edgetl.errors import ConfigError
from edgetl.tasks.images import ImageInput, Sample, prepare
from edgetl.types import Array, Feeds, Outputs


class LabelProbability(msgspec.Struct, frozen=True, kw_only=True):
    label: str
    probability: float


class Classification(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one image: the most probable labels, best first."""

    top: tuple[LabelProbability, ...]

    @property
    def label(self) -> str:
        return self.top[0].label

    @property
    def probability(self) -> float:
        """Of the best label, 0–1."""
        return self.top[0].probability

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(each.label for each in self.top)

    @property
    def probabilities(self) -> tuple[float, ...]:
        return tuple(each.probability for each in self.top)


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

    def __post_init__(self) -> None:
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must be present and distinct")
        if min(self.std) <= 0 or self.temperature <= 0:
            raise ValueError("`std` and `temperature` must be positive")

    def preprocess(self, samples: Sequence[Sample], *, color: Literal["rgb", "bgr"] = "rgb") -> Feeds:
        """`image`: uint8 of shape (len(samples), height, width, 3). Raises DataError."""
        return {"image": np.stack([prepare(sample, self.input, color=color) for sample in samples])}

    def postprocess(self, outputs: Outputs, *, top: int = 5) -> list[Classification]:
        """The `top` labels of each row of `probabilities`, shape (batch, labels). Raises ConfigError below 1."""
        if top < 1:
            raise ConfigError(f"`top` cannot be `{top}`", hint="ask for one label or more")
        probabilities = outputs["probabilities"]
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        return [
            Classification(top=tuple(LabelProbability(label=self.labels[i], probability=float(row[i])) for i in order))
            for row, order in zip(probabilities, best, strict=True)
        ]

    def score(self, predictions: Array, truths: Array) -> dict[str, float]:
        """`top1` (0–1) from predicted and true label indices, each of shape (samples,)."""
        return {"top1": float(np.mean(predictions == truths))}
