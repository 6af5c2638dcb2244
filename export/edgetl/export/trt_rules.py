"""A typed ONNX graph against TensorRT's rules, where no TensorRT is at hand to parse it.

Source of the rules on types: TensorRT's documentation, "Strongly Typed Networks", "Working with Quantized Types" and
`DataType` of the Python API. What a build finds out beyond that (memory, tactics) stays open until a device builds it.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edgetl.errors import first_line
from edgetl.export.quantisation.layers import COMPUTE, channel_axis
from edgetl.export.trt_operators import CONSTANT_INPUTS, ONE_TYPE, OPERATORS, OPSETS, QUANTISED_OPSETS, RANKS
from edgetl.runtime.precision import MIN_INT8_SHARE
from edgetl.types import Array, Precision

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
BORDER = (TensorProto.UINT8, TensorProto.FLOAT, TensorProto.FLOAT16)
"""Types of inputs and outputs that the engine module exchanges."""


def problems(model: ModelProto, precision: Precision) -> list[str]:
    """What TensorRT would refuse or run otherwise than `precision` says, one line for each; empty when clean."""
    try:
        graph = _Graph(model)
    except onnx.shape_inference.InferenceError as error:
        return [f"its types cannot be inferred: {first_line(error)}"]
    found = list(_opset(model, graph))
    for value in (*model.graph.input, *model.graph.output):
        found += _border(value)
    found += [f"`{tensor.name}` lies in another file" for tensor in model.graph.initializer if _external(tensor)]
    for node in model.graph.node:
        found += _node(node, graph)
        found += _pair(node, graph)
    return found + list(_compute(graph, precision))


class _Graph:
    """Types, ranks, constants and producers of a model's tensors."""

    def __init__(self, model: ModelProto) -> None:
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self.nodes = model.graph.node
        self.inputs = {value.name for value in inferred.input}
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.made_by = {name: node for node in self.nodes for name in node.output}
        values = (*inferred.input, *inferred.value_info, *inferred.output)
        self.kinds = {value.name: value.type.tensor_type.elem_type for value in values}
        self.kinds |= {name: tensor.data_type for name, tensor in self.constants.items()}
        self.ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in values if v.type.tensor_type.HasField("shape")}

    def is_constant(self, name: str) -> bool:
        """An initialiser, or computed from nothing else."""
        node = self.made_by.get(name)
        if node is None:
            return name in self.constants
        return all(self.is_constant(source) for source in node.input if source)

    def array(self, name: str) -> Array | None:
        """The value of an initialiser or Constant node that lies in the file itself."""
        node = self.made_by.get(name)
        tensor = self.constants.get(name)
        if node is not None and node.op_type == "Constant":
            tensor = next((a.t for a in node.attribute if a.name == "value"), None)
        if tensor is None or _external(tensor):
            return None
        array: Array = numpy_helper.to_array(tensor)
        return array


def _kind(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind)).lower()


def _external(tensor: TensorProto) -> bool:
    return tensor.data_location == TensorProto.EXTERNAL


def _opset(model: ModelProto, graph: _Graph) -> Iterator[str]:
    versions = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    version = versions.get("ai.onnx", 0)
    half_pairs = any(
        node.op_type == "QuantizeLinear" and graph.kinds.get(node.input[1]) == TensorProto.FLOAT16
        for node in graph.nodes
    )
    allowed = QUANTISED_OPSETS if half_pairs else OPSETS
    if version not in allowed:
        yield f"opset {version} is not within {allowed[0]}–{allowed[-1]}"
    for function in model.functions:
        yield f"the function `{function.name}` is not inlined"


def _border(value: ValueInfoProto) -> Iterator[str]:
    tensor = value.type.tensor_type
    if tensor.elem_type not in BORDER:
        yield f"`{value.name}` is {_kind(tensor.elem_type)} at the border of the network"
    for axis, dimension in enumerate(tensor.shape.dim):
        if axis > 0 and not dimension.HasField("dim_value"):
            yield f"axis {axis} of `{value.name}` is dynamic, only the batch may be"


def _node(node: NodeProto, graph: _Graph) -> Iterator[str]:
    where = f"{node.op_type} `{node.name}`"
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        yield f"{where}: the operator is not supported"
    kinds = [graph.kinds.get(name, TensorProto.UNDEFINED) for name in node.input if name]
    floats = sorted({_kind(kind) for kind in kinds if kind in FLOATS})
    if node.op_type in ONE_TYPE and len(floats) > 1:
        yield f"{where} mixes {' and '.join(floats)}"
    if TensorProto.DOUBLE in kinds:
        yield f"{where} computes in double"
    if TensorProto.UINT8 in kinds and (node.op_type != "Cast" or node.input[0] not in graph.inputs):
        yield f"{where} reads uint8, which only a Cast right at the input may"
    if node.op_type == "Cast" and kinds == [TensorProto.INT64] and helper.get_node_attr_value(node, "to") in FLOATS:
        yield f"{where} makes data of int64, which is for shapes"
    for position in CONSTANT_INPUTS.get(node.op_type, ()):
        if position < len(node.input) and node.input[position] and not graph.is_constant(node.input[position]):
            yield f"{where}: input {position} is not a constant"
    yield from _restrictions(node, graph, where)


def _restrictions(node: NodeProto, graph: _Graph, where: str) -> Iterator[str]:
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    ranks = RANKS.get(node.op_type)
    if ranks and graph.ranks.get(node.input[0], ranks[0]) not in ranks:
        yield f"{where} is neither 2D nor 3D"
    if node.op_type == "MaxPool" and len(node.output) > 1 and node.output[1]:
        yield f"{where} asks for indices"
    if node.op_type in ("MaxPool", "AveragePool", "LpPool") and any(d != 1 for d in attributes.get("dilations", [])):
        yield f"{where} is dilated"
    if node.op_type == "Resize" and (attributes.get("antialias") or attributes.get("mode") == b"cubic"):
        yield f"{where} is cubic or antialiased"


def _pair(node: NodeProto, graph: _Graph) -> Iterator[str]:
    """QuantizeLinear and DequantizeLinear: symmetric int8 with positive constant scales, one a channel for weights."""
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return
    where = f"{node.op_type} `{node.name}`"
    quantised = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
    kind = graph.kinds.get(quantised, TensorProto.UNDEFINED)
    if kind != TensorProto.INT8:
        yield f"{where} is {_kind(kind)}, not int8" + (", a bias?" if kind == TensorProto.INT32 else "")
    scale = graph.array(node.input[1])
    if scale is not None and not (np.isfinite(scale).all() and (scale > 0).all()):
        yield f"{where} has a scale that is not positive and finite"
    zero = graph.array(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if zero is not None and zero.any():
        yield f"{where} has a zero point other than 0"
    if node.op_type == "DequantizeLinear" and scale is not None and scale.size > 1:
        yield from _channel_axis(node, graph, where)


def _channel_axis(node: NodeProto, graph: _Graph, where: str) -> Iterator[str]:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    rank = graph.ranks.get(node.output[0], 2)
    for layer in graph.nodes:
        if layer.op_type not in COMPUTE or node.output[0] not in layer.input:
            continue
        if layer.input[1] != node.output[0]:
            yield f"{where} has one scale a channel on the activations of `{layer.name}`"
        elif axis % rank != channel_axis(layer, rank):
            yield f"{where} has its scales on axis {axis}, not on the output channels of `{layer.name}`"


def _compute(graph: _Graph, precision: Precision) -> Iterator[str]:
    """The compute layers are typed as the variant is called; of int8 at least half have both inputs dequantised."""
    layers = [node for node in graph.nodes if node.op_type in COMPUTE]
    wanted = TensorProto.FLOAT if precision == "fp32" else TensorProto.FLOAT16
    for node in layers:
        kind = graph.kinds.get(node.input[0], TensorProto.UNDEFINED)
        if kind != wanted:
            yield f"{node.op_type} `{node.name}` is {_kind(kind)}, not {_kind(wanted)}"
    if not layers:
        yield "no layer computes anything"
    quantised = [node for node in layers if all(_dequantised(name, graph) for name in node.input[:2])]
    if precision == "int8" and len(quantised) < MIN_INT8_SHARE * len(layers):
        yield f"only {len(quantised)} of {len(layers)} compute layers are quantised"
    if precision != "int8" and any(node.op_type == "QuantizeLinear" for node in graph.nodes):
        yield f"a variant of {precision} carries QuantizeLinear"


def _dequantised(name: str, graph: _Graph) -> bool:
    """Whether a value comes out of a DequantizeLinear, moved or not."""
    node = graph.made_by.get(name)
    while node is not None and node.op_type in ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"):
        node = graph.made_by.get(node.input[0])
    return node is not None and node.op_type == "DequantizeLinear"
