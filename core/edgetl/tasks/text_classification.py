"""Text classification: a sentence in, one label with its probability out."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np

from edgetl.plugins import require
from edgetl.tasks import classification
from edgetl.tasks.classification import Classification, best_labels, check_labels
from edgetl.tasks.images import Sample
from edgetl.tasks.labelled import Labelled
from edgetl.tasks.labelled_texts import read_bare_texts, read_texts
from edgetl.tasks.padding import padded
from edgetl.tasks.preparation import Preparation, ReadFile, SampleKind, Wishes
from edgetl.types import Array, Feeds, Outputs, TensorSpec


class TextInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a text reaches the graph: as token ids, cut after `max_length` of them, special ones included.

    `pad_id` fills the rows of a batch up to its longest; the mask is 0 there, so that it has no effect.
    """

    max_length: int
    pad_id: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.max_length <= 8192:
            raise ValueError("`max_length` must lie between 2 and 8192 tokens")
        if self.pad_id < 0:
            raise ValueError("`pad_id` cannot be negative")


class TextClassification(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag="text-classification",
    tag_field="task",
    forbid_unknown_fields=True,
):
    """Everything about the task that travels with the model, beside `tokenizer.json`.

    `temperature` divides the logits before the softmax, inside the graph.
    """

    labels: tuple[str, ...]
    input: TextInput
    temperature: float = 1.0

    files: ClassVar[tuple[str, ...]] = ("tokenizer.json",)
    records: ClassVar[tuple[str, ...]] = ("texts.json",)
    compared: ClassVar[tuple[str, ...]] = ("logits",)
    metrics: ClassVar[tuple[str, ...]] = ("top1", "macro_f1")
    takes: ClassVar[SampleKind] = "text"
    answer: ClassVar[type[Classification]] = Classification
    extras: ClassVar[tuple[str, ...]] = ("text",)

    def __post_init__(self) -> None:
        check_labels(self.labels)
        if self.temperature <= 0:
            raise ValueError("`temperature` must be positive")

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the graph reads: `ids` and `mask`, int64 of shape (batch, length)."""
        return tuple(TensorSpec(name=name, dtype="int64", shape=("batch", "length")) for name in ("ids", "mask"))

    @property
    def longest(self) -> dict[str, int]:
        """What the dynamic axes of an input hold at most, by name; the batch has no bound."""
        return {"length": self.input.max_length}

    def misfit(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> str | None:
        """Why a graph of these tensors cannot do this task, or None."""
        return classification.misfit(self.labels, self.inputs, inputs, outputs)

    def preparation(self, file: ReadFile) -> Preparation:
        """The tokeniser of `tokenizer.json`, read once. Raises DependencyError, ArtefactError."""
        require("text", "tokenizers")
        from edgetl.tasks.tokens import Tokens  # no other task needs the library

        return Tokens(file("tokenizer.json"), self.input)

    def reader(self) -> str:
        """What tokenises: two machines with the same string split texts alike."""
        require("text", "tokenizers")
        from edgetl.tasks.tokens import tokeniser_version

        return tokeniser_version()

    def order(self, samples: Sequence[Sample]) -> list[int]:
        """In which order samples are best batched: texts of like length together, as a batch is as long as its longest.

        Characters stand for tokens here; what is no text is refused when it is prepared.
        """
        lengths = [len(each) if isinstance(each, str | bytes | bytearray) else 0 for each in samples]
        return sorted(range(len(samples)), key=lengths.__getitem__)

    def take(self, feeds: Feeds, rows: Array) -> Feeds:
        """The `rows` of recorded inputs, as long as the longest of them."""
        mask = feeds["mask"][rows]
        length = max(1, int(mask.sum(axis=1).max(initial=0)))
        return {"ids": feeds["ids"][rows, :length], "mask": mask[:, :length]}

    def join(self, parts: Sequence[Feeds]) -> Feeds:
        """One batch of several, padded to the longest."""
        return {
            "ids": padded([row for part in parts for row in part["ids"]], self.input.pad_id),
            "mask": padded([row for part in parts for row in part["mask"]], 0),
        }

    def truths(self, labelled: Sequence[Labelled], sizes: Sequence[tuple[int, int]]) -> Array:
        """What is true of samples, as `findings` are: label indices, shape (samples,)."""
        return np.array([each.label for each in labelled], np.int32)

    def labelled(self, source: Path) -> list[Labelled]:
        """Labelled samples to judge by: the rows of a CSV or JSONL file. Raises DataError."""
        return read_texts(source, self.labels)

    def unlabelled(self, source: Path) -> Sequence[Path | str]:
        """Samples without labels: the lines of a text file, or rows of a CSV or JSONL. Raises DataError."""
        return read_bare_texts(source)

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
