"""Answers that are labels with probabilities, whatever was classified."""

from collections.abc import Sequence

import msgspec
import numpy as np

from edgetl.errors import ConfigError
from edgetl.types import Array, Outputs, TensorSpec


class LabelProbability(msgspec.Struct, frozen=True, kw_only=True):
    label: str
    probability: float


class Classification(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one sample: the most probable labels, best first."""

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


def best_labels(outputs: Outputs, labels: tuple[str, ...], top: int) -> list[Classification]:
    """The `top` labels of each row of `probabilities`, shape (batch, labels). Raises ConfigError below 1."""
    if top < 1:
        raise ConfigError(f"`top` cannot be `{top}`", hint="ask for one label or more")
    probabilities = outputs["probabilities"]
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return [
        Classification(top=tuple(LabelProbability(label=labels[i], probability=float(row[i])) for i in order))
        for row, order in zip(probabilities, best, strict=True)
    ]


def top1(predictions: Array, truths: Array) -> dict[str, float]:
    """`top1` (0–1) from predicted and true label indices, each of shape (samples,)."""
    return {"top1": float(np.mean(predictions == truths))}


def best(outputs: Outputs) -> Array:
    """The best label's index of each row of `logits`, int32 of shape (batch,)."""
    return np.asarray(outputs["logits"].argmax(axis=1), np.int32)


def as_labels(array: Array, samples: int, labels: int) -> Array:
    """`array` if it names one of so many labels for each of so many samples. Raises ValueError."""
    if array.shape != (samples,) or array.dtype.kind not in "iu":
        raise ValueError("not one label a sample")
    if array.size and not 0 <= array.min() <= array.max() < labels:
        raise ValueError("names no label")
    return array


def check_labels(labels: tuple[str, ...]) -> None:
    """Raises ValueError unless there are labels, no two alike."""
    if not labels or len(set(labels)) != len(labels):
        raise ValueError("labels must be present and distinct")


def misfit(labels: tuple[str, ...], wanted: Sequence[TensorSpec], inputs: Sequence[TensorSpec],
           outputs: Sequence[TensorSpec]) -> str | None:  # fmt: skip
    """What is wrong with the tensors of a graph that should read `wanted` and answer with labels, or None."""
    shapes = {spec.name: spec.shape for spec in outputs}
    if any(shapes.get(name, ())[1:] != (len(labels),) for name in ("logits", "probabilities")):
        return f"{len(labels)} labels for outputs of another size"
    if [(spec.name, spec.dtype, spec.shape[1:]) for spec in inputs] != [
        (spec.name, spec.dtype, spec.shape[1:]) for spec in wanted
    ]:
        return "the input tensor is not the task's"
    return None
