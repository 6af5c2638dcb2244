"""The fp32 model that a bundle is made from, as far as export knows it: it answers, and it writes its graph."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from edgetl.errors import ConfigError
from edgetl.tasks.inputs import Inputs
from edgetl.types import Feeds, Outputs, TensorSpec, Track

Answering = Callable[[Feeds], Outputs]
"""From the graph's inputs to its answers, a row for each sample."""


class GraphWishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the user wants of the graph: `embedding`, the features before the head, as an output; `nms` in the graph, or
    left to the device.
    """

    embedding: bool = False
    nms: Literal["device", "graph"] = "device"


class Network(Protocol):
    """`outputs`: what the graph answers. `answer`: the reference, in fp32. `under`: how it would answer under each
    fault that could be planted in the graph, by name.
    """

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def answer(self, feeds: Feeds) -> Outputs: ...

    def under(self) -> Mapping[str, Answering]: ...

    def write(self, path: Path, opset: int) -> None:
        """The fp32 ONNX file every variant is made from. Raises ConfigError, ArtefactError."""

    @property
    def trainable(self) -> bool:
        """Whether `retrain` can be asked for."""

    def retrain(self, calibration: Inputs, seed: int, track: Track) -> "Network":
        """The network trained under quantisation on these inputs."""


def refuse_suppression(wishes: GraphWishes) -> None:
    """Raises ConfigError where there are no boxes to suppress."""
    if wishes.nms == "graph":
        raise ConfigError("`--nms` is about the boxes of detectors", hint="leave it out")
