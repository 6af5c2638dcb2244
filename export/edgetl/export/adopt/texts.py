"""From token ids and mask to the inputs an imported text model reads, once in numpy and once as a graph."""

from collections.abc import Callable

import msgspec
import numpy as np
from onnx import GraphProto, TensorProto, helper

from edgetl.errors import ArtefactError
from edgetl.export.adopt.nodes import Nodes
from edgetl.export.adopt.original import Original
from edgetl.export.adopt.preprocess import TextPreprocess
from edgetl.tasks import Task
from edgetl.types import Array, Feeds

INTEGERS = {"int64": TensorProto.INT64, "int32": TensorProto.INT32}
PROBE_LENGTH = 11
"""A number of tokens that no constant of a model is likely to have."""


class TextWiring(msgspec.Struct, frozen=True, kw_only=True):
    """`names`: `ids`, `mask` and perhaps `types` to the model's input, and `dtypes` of these."""

    names: dict[str, str]
    dtypes: dict[str, str]

    def feed(self, feeds: Feeds) -> dict[str, Array]:
        """`ids` and `mask`, int64 (samples, length), under the model's names and in its integers."""
        known = {**feeds, "types": np.zeros_like(feeds["ids"])}
        return {self.names[what]: known[what].astype(self.dtypes[what]) for what in self.names}

    def under(self, task: Task) -> dict[str, Callable[[Feeds], dict[str, Array]]]:
        """The padding read as words, and no word known."""
        return {
            "mask ignored": lambda feeds: self.feed({**feeds, "mask": np.ones_like(feeds["mask"])}),
            "all tokens unknown": lambda feeds: self.feed({**feeds, "ids": np.zeros_like(feeds["ids"])}),
        }

    def shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """The shape of each of the model's inputs for a batch of that size."""
        return dict.fromkeys(self.names.values(), (batch, PROBE_LENGTH))

    def attach(self, graph: GraphProto, prefix: str) -> None:
        """Puts it in front of a graph whose tensors begin with `prefix`, in place of the graph's inputs."""
        nodes = Nodes(graph)
        if "types" in self.names:
            nodes.add("Sub", ["ids", "ids"], "types")
        for what, name in self.names.items():
            nodes.add("Cast", [what], prefix + name, to=INTEGERS[self.dtypes[what]])
        nodes.put_first()
        del graph.input[:]
        for what in ("ids", "mask"):
            graph.input.append(helper.make_tensor_value_info(what, TensorProto.INT64, ["batch", "length"]))


def text_wiring(original: Original, preprocess: TextPreprocess) -> TextWiring:
    """How tokens reach the inputs of `original`. Raises ArtefactError where they cannot."""
    wanted = {"ids": preprocess.ids, "mask": preprocess.mask, "types": preprocess.types}
    known = {spec.name for spec in original.inputs}
    strange = sorted(known - set(wanted.values()))
    missing = [name for what, name in wanted.items() if name not in known and what != "types"]
    if strange or missing:
        what = f"reads `{strange[0]}`, which is none of" if strange else f"does not read `{missing[0]}` of"
        raise ArtefactError(
            f"`{original.path}` {what} `ids`, `mask` and `types`: it has {original.shown(original.inputs)}",
            hint="`ids`, `mask` and `types` in the preprocessing name the model's inputs; it must read ids and a mask",
        )
    names = {what: name for what, name in wanted.items() if name in known}
    for name in names.values():
        spec = original.input(name)
        if spec.dtype not in INTEGERS or len(spec.shape) != 2:
            raise ArtefactError(
                f"the input {original.shown([spec])} of `{original.path}` is {spec.dtype}, and no row of tokens",
                hint="expected are int64 or int32 with batch and length",
            )
        if isinstance(spec.shape[1], int):
            raise ArtefactError(
                f"the input {original.shown([spec])} of `{original.path}` has a fixed length",
                hint="export it with a dynamic length: a short text would cost as much as the longest",
            )
    return TextWiring(names=names, dtypes={what: original.input(name).dtype for what, name in names.items()})
