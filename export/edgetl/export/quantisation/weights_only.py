"""Weights as int8 with one scale a channel, dequantised in the graph: a quarter of the size, fp32 arithmetic."""

import numpy as np
import onnx
from onnx import numpy_helper

from edgetl.export.quantisation.layers import COMPUTE, channel_axis
from edgetl.types import Array

SMALLEST = 1024
"""A tensor with fewer values gains too little to be worth the rounding."""


def compress_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with every large weight of a compute layer replaced by int8 values and a DequantizeLinear node."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    pairs = [(node, name) for node in model.graph.node if node.op_type in COMPUTE for name in node.input[1:2]]
    done: set[str] = set()
    for node, name in pairs:
        if name not in constants or name in done or np.prod(constants[name].dims) < SMALLEST:
            continue
        done.add(name)
        _replace(model, constants[name], channel_axis(node, len(constants[name].dims)))
    return model


def _replace(model: onnx.ModelProto, weight: onnx.TensorProto, axis: int) -> None:
    """Keeps the tensor's name for the dequantised values, so that nothing downstream changes."""
    values, scale = _rounded(numpy_helper.to_array(weight), axis)
    name = weight.name
    model.graph.initializer.remove(weight)
    model.graph.initializer.extend(
        [numpy_helper.from_array(values, f"{name}_int8"), numpy_helper.from_array(scale, f"{name}_scale")]
    )
    node = onnx.helper.make_node(
        "DequantizeLinear", [f"{name}_int8", f"{name}_scale"], [name], name=f"{name}_dequantise", axis=axis
    )
    model.graph.node.insert(0, node)


def _rounded(weight: Array, axis: int) -> tuple[Array, Array]:
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.maximum(np.abs(weight).max(axis=others), 1e-12).astype(np.float32) / np.float32(127)
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    return np.clip(np.round(weight / scale.reshape(shape)), -127, 127).astype(np.int8), scale
