"""Nodes and constants that are put in front of a graph or behind it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from edgetl.types import TensorSpec

FLOAT = int(TensorProto.FLOAT)


class Nodes:
    """A list of nodes in the order they compute; `constant`s go to the graph at once. Names must be new."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self._nodes: list[NodeProto] = []

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """A node of one output, which it is called after; returns the output."""
        self._nodes.append(helper.make_node(operator, inputs, [output], name=f"{output}/{operator}", **attributes))
        return output

    def constant(self, name: str, values: ArrayLike, kind: type[np.generic] = np.float32) -> str:
        """A constant; returns its name."""
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def cut(self, source: str, output: str, start: int, end: int, axis: int) -> str:
        """`source[start:end]` along `axis`."""
        bounds = (("start", start), ("end", end), ("axis", axis))
        names = [self.constant(f"{output}/{what}", [value], np.int64) for what, value in bounds]
        return self.add("Slice", [source, *names], output)

    def put_first(self) -> None:
        """In front of all that is there."""
        for place, node in enumerate(self._nodes):
            self.graph.node.insert(place, node)

    def put_last(self) -> None:
        """Behind all that is there."""
        self.graph.node.extend(self._nodes)


def declare(graph: GraphProto, outputs: Sequence[TensorSpec]) -> None:
    """Makes these the outputs of the graph, and no others; all are float32."""
    del graph.output[:]
    for spec in outputs:
        graph.output.append(helper.make_tensor_value_info(spec.name, FLOAT, spec.shape))
