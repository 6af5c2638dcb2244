"""From an imported classifier's output to `logits` and `probabilities`, once in numpy and once as a graph."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from onnx import GraphProto, ModelProto

from edgetl.errors import ArtefactError, ConfigError
from edgetl.export.adopt.nodes import Nodes, declare
from edgetl.export.adopt.original import Original
from edgetl.types import Array, Outputs, TensorSpec

Answers = Literal["logits", "probabilities", "auto"]

LEAST = 1e-30
"""The logarithm of a smaller probability would tell engines apart that agree: float32 ends not far below."""

SUM_ERROR = 1e-3
UNCHANGED = ("Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Cast")


class ClassReading(msgspec.Struct, frozen=True, kw_only=True):
    """`output` of the model holds a value for each of `width` labels, after `first` that are for none.

    `probabilities`: the values are no logits; their logarithms are. `single`: the one value is the logit of the second
    of two labels. `inside`: the output is a tensor inside the file's graph.
    """

    output: str
    width: int
    first: int
    probabilities: bool
    single: bool
    inside: bool = False

    @property
    def inner(self) -> str | None:
        """The tensor that the file must put out too."""
        return self.output if self.inside else None

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """`logits` and `probabilities`, float32 (batch, labels)."""
        shape = ("batch", self.width)
        return tuple(TensorSpec(name=name, dtype="float32", shape=shape) for name in ("logits", "probabilities"))

    def read(self, outputs: Outputs) -> Outputs:
        """`logits` and `probabilities`, float32 (samples, labels)."""
        values = outputs[self.output].reshape(len(outputs[self.output]), -1)[:, self.first :].astype(np.float32)
        if self.single:
            values = np.concatenate([np.zeros_like(values), values], axis=1)
        logits = np.log(np.maximum(values, np.float32(LEAST))) if self.probabilities else values
        return {"logits": logits, "probabilities": _softmax(logits)}

    def attach(self, graph: GraphProto, prefix: str) -> None:
        """Puts it behind a graph whose tensors begin with `prefix`, in place of the graph's outputs."""
        nodes = Nodes(graph)
        last = nodes.add("Flatten", [prefix + self.output], "answers", axis=1)
        if self.first:
            last = nodes.cut(last, "labelled", self.first, self.first + self.width, 1)
        if self.single:
            zero = nodes.add("Sub", [last, last], "zero")
            last = nodes.add("Concat", [zero, last], "both", axis=1)
        if self.probabilities:
            last = nodes.add("Log", [nodes.add("Max", [last, nodes.constant("least", LEAST)], "likely")], "logarithms")
        nodes.add("Identity", [last], "logits")
        nodes.add("Softmax", ["logits"], "probabilities", axis=1)
        nodes.put_last()
        declare(graph, self.outputs)


def class_reading(
    original: Original,
    samples: Sequence[Outputs],
    labels: tuple[str, ...],
    *,
    output: str | None,
    answers: Answers,
    drop_first: bool,
) -> ClassReading:
    """How the answers of `original` to some samples are to be read.

    Raises ArtefactError or ConfigError where no output, or more than one, fits the labels.
    """
    name = _output(original, samples[0], len(labels), output, drop_first)
    values = np.concatenate([each[name].reshape(1, -1) for each in samples]).astype(np.float64)
    single = values.shape[1] == 1 and len(labels) == 2
    values = values[:, 1:] if drop_first else values
    return ClassReading(
        output=name,
        width=len(labels),
        first=int(drop_first),
        probabilities=_are_probabilities(values, name, drop_first) if answers == "auto" else answers == "probabilities",
        single=single,
    )  # fmt: skip


def before_sigmoid(model: ModelProto, path: Path, reading: ClassReading) -> ClassReading:
    """A single probability is read as the logit its sigmoid was given: near 0 or 1 it tells too little itself.

    Raises ArtefactError where there is no sigmoid at the end.
    """
    if not (reading.single and reading.probabilities):
        return reading
    made = {output: node for node in model.graph.node for output in node.output}
    node = made.get(reading.output)
    while node is not None and node.op_type in UNCHANGED:
        node = made.get(node.input[0])
    if node is None or node.op_type != "Sigmoid":
        raise ArtefactError(
            f"`{reading.output}` of `{path}` is one probability, but no sigmoid makes it",
            hint="export the model so that it answers with the logit, or with a value for each of the two labels",
        )
    return msgspec.structs.replace(reading, output=node.input[0], probabilities=False, inside=True)


def _output(original: Original, sample: Outputs, labels: int, output: str | None, drop_first: bool) -> str:
    """The output that has a value for each label."""
    widths = {name: int(value.size) for name, value in sample.items() if value.dtype.kind == "f"}
    shown = original.shown(original.outputs)
    if output is not None and output not in widths:
        raise ConfigError(f"`{original.path}` has no output `{output}` with a row of values a sample",
                          hint=f"it has {shown}")  # fmt: skip
    wanted = labels + drop_first
    fitting = [name for name in ([output] if output else widths) if widths[name] == wanted or (
        widths[name] == 1 and labels == 2 and not drop_first)]  # fmt: skip
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ConfigError(f"several outputs of `{original.path}` fit {labels} labels: `{'`, `'.join(fitting)}`",
                          hint="`--output NAME` chooses one")  # fmt: skip
    if labels + 1 in widths.values() and not drop_first:
        raise ConfigError(
            f"`{original.path}` answers with {labels + 1} values for {labels} labels: {shown}",
            hint="`--drop-first` leaves out a background class in front; else labels.txt lacks one",
        )
    raise ArtefactError(
        f"no output of `{original.path}` has {wanted} values for {labels} labels: it has {shown}",
        hint="labels.txt must name every output of the model, in its order; `--output NAME` chooses one",
    )


def _are_probabilities(values: Array, name: str, drop_first: bool) -> bool:
    """Whether rows of answers are probabilities and no logits. Raises ConfigError where they could be both."""
    within = bool(values.min() >= 0 and values.max() <= 1)
    sums = values.sum(axis=1)
    if within and (np.abs(sums - 1).max() <= SUM_ERROR or (drop_first and sums.max() <= 1 + SUM_ERROR)):
        return True
    if within and values.shape[1] == 1:
        raise ConfigError(
            f"the one value of `{name}` lies between 0 and 1 in all samples: a probability, or a small logit?",
            hint="say `--answers probabilities` or `--answers logits`",
        )
    if within:
        raise ConfigError(
            f"the values of `{name}` lie between 0 and 1 but do not sum to 1: each label has its own probability",
            hint="edgetl classifies into one label of many; `--answers logits` takes the largest as the answer",
        )
    return False


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
