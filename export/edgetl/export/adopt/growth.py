"""How the shapes of a graph grow with its batch, as inferred for two sizes of it."""

import math
from collections.abc import Callable, Mapping

import msgspec
import onnx
from onnx import ModelProto, helper

Shape = tuple[int, ...]
Shapes = dict[str, Shape]

FACTOR = 7
"""The second size is so many times the first: what grows with it is the batch."""

LARGE_VALUES = 1024
"""A larger constant is a weight and no shape."""


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """The shapes of all tensors at the file's batch, `size`, and at `FACTOR` times as much.

    `outside`: of a tensor whose batch shares its axis, how much of that axis lies outside the batch.
    """

    size: int
    one: Shapes
    many: Shapes
    outside: dict[str, int]

    def axis(self, name: str) -> int | None:
        """The only axis of a tensor that grows with the batch."""
        one, many = self.one.get(name, ()), self.many.get(name, ())
        grown = [axis for axis, pair in enumerate(zip(one, many, strict=False)) if pair[0] != pair[1]]
        return grown[0] if len(grown) == 1 and len(one) == len(many) else None

    def grows(self, name: str) -> bool:
        return name in self.one and name in self.many and self.one[name] != self.many[name]

    def stays(self, name: str) -> bool:
        return name in self.one and name in self.many and self.one[name] == self.many[name]

    def around(self, name: str, axis: int) -> tuple[int, int]:
        """How many values lie outside the batch of a tensor, and how many inside."""
        shape, outside = self.one[name], self.outside.get(name, 1)
        return math.prod(shape[:axis]) * outside, math.prod(shape[axis:]) // (self.size * outside)


def grow(light: ModelProto, inputs: Callable[[int], Mapping[str, Shape]], size: int) -> Growth:
    """How the tensors of `light` grow; `inputs`: the shapes of its inputs for a batch, `size` that of the file."""
    shapes = [shapes_of(light, inputs(size * factor)) for factor in (1, FACTOR)]
    growth = Growth(size=size, one=shapes[0], many=shapes[1], outside={})
    for node in light.graph.node:
        source = next((name for name in node.input if growth.grows(name)), "")
        before, after = growth.axis(source), growth.axis(node.output[0])
        if before is None or after is None:
            continue
        shape = growth.one[node.output[0]]
        if node.op_type == "Reshape":
            outer = growth.around(source, before)[0] // max(1, math.prod(shape[:after]))
            growth.outside[node.output[0]] = max(1, outer)
        elif shape[after] == growth.one[source][before]:
            growth.outside[node.output[0]] = growth.outside.get(source, 1)
    return growth


def without_weights(model: ModelProto) -> ModelProto:
    """A copy whose weights are inputs, and that says nothing of shapes within."""
    graph = model.graph
    large = {t.name: t for t in graph.initializer if math.prod(t.dims) > LARGE_VALUES}
    return helper.make_model(
        helper.make_graph(
            graph.node,
            "light",
            [*graph.input, *(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in large.values())],
            [onnx.ValueInfoProto(name=value.name) for value in graph.output],
            [tensor for tensor in graph.initializer if tensor.name not in large],
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )


def shapes_of(light: ModelProto, inputs: Mapping[str, Shape]) -> Shapes:
    """Every tensor whose shape follows from those of the inputs."""
    for value in light.graph.input:
        if value.name in inputs:
            shape = value.type.tensor_type.shape
            del shape.dim[:]
            for axis in inputs[value.name]:
                shape.dim.add().dim_value = axis
    inferred = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    found = {tensor.name: tuple(tensor.dims) for tensor in light.graph.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(axis.HasField("dim_value") for axis in kind.shape.dim):
            found[value.name] = tuple(axis.dim_value for axis in kind.shape.dim)
    return found
