"""Moves factors between a convolution and the next one, so that no channel drowns the others in the scale they share.

What a channel is multiplied by in one layer the next divides by: the same function in floating point. Between the two
there may be a ReLU, which passes positive factors on.
References: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
section 4.1; Xiao et al., "SmoothQuant", ICML 2023, for ranges of activations in place of weights.
"""

from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import numpy_helper

from edgetl.export.quantisation.observing import values
from edgetl.tasks.inputs import Inputs
from edgetl.types import Array

IMAGES = 32
BATCH = 8
LARGEST = 1e4
"""Factors beyond this, of channels that are never active, say nothing."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two layers by the names of their parameters; `between` is the second's input. A missing bias is empty."""

    weight: str
    bias: str
    between: str
    reader: str
    depthwise: bool


def equalise(source: Path, target: Path, inputs: Inputs) -> int:
    """Writes the graph with equalised channels, as seen on the first images; how many pairs of layers were changed."""
    model = onnx.load(source)
    found = _pairs(model)
    largest: dict[str, Array] = {}
    for outputs in values(model, [pair.between for pair in found], inputs.first(IMAGES).batches(BATCH)):
        for name, value in outputs.items():
            here = np.abs(value).max(axis=(0, 2, 3))
            largest[name] = np.maximum(largest.get(name, here), here)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for pair in found:
        _rescale(constants, pair, largest[pair.between])
    onnx.save(model, target)
    return len(found)


def _pairs(model: onnx.ModelProto) -> list[Pair]:
    """Convolutions whose output only one other convolution reads, and whose parameters nobody else uses."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    outputs = {output.name for output in model.graph.output}
    pairs = []
    for first in model.graph.node:
        between, second = _next(first, readers, outputs)
        if second is None or first.op_type != "Conv" or second.op_type != "Conv":
            continue
        own = [*first.input[1:], second.input[1]]
        if second.input[0] != between or any(name not in constants or len(readers[name]) > 1 for name in own):
            continue
        channels, shape = constants[own[0]].dims[0], constants[own[-1]].dims
        depthwise = shape[1] == 1 and shape[0] == channels
        if depthwise or shape[1] == channels:
            bias = first.input[2] if len(first.input) > 2 else ""
            pairs.append(Pair(weight=own[0], bias=bias, between=between, reader=own[-1], depthwise=depthwise))
    return pairs


def _next(
    node: onnx.NodeProto, readers: dict[str, list[onnx.NodeProto]], outputs: set[str]
) -> tuple[str, onnx.NodeProto | None]:
    """The only reader of the node's output, behind a ReLU if there is one, and the tensor it reads."""
    name = node.output[0]
    following = readers.get(name, [])
    if len(following) == 1 and following[0].op_type == "Relu" and name not in outputs:
        name = following[0].output[0]
        following = readers.get(name, [])
    return name, following[0] if len(following) == 1 and name not in outputs else None


def _rescale(constants: dict[str, onnx.TensorProto], pair: Pair, active: Array) -> None:
    """Divides the first layer's channels by their factor and multiplies the second's.

    A depthwise layer has a scale for each channel, so all of the difference goes there; else half of it, in logarithms.
    """
    read = numpy_helper.to_array(constants[pair.reader])
    reading = np.abs(read).max(axis=(1, 2, 3) if pair.depthwise else (0, 2, 3))
    ratio = active if pair.depthwise else np.sqrt(active / np.maximum(reading, 1e-12))
    known = ratio > 0
    if not known.any():
        return
    factor = np.where(known, ratio / np.exp(np.log(ratio[known]).mean()), 1.0)
    factor = np.clip(factor, 1 / LARGEST, LARGEST).astype(np.float32)
    _multiply(constants[pair.weight], 1 / factor, axis=0)
    if pair.bias:
        _multiply(constants[pair.bias], 1 / factor, axis=0)
    _multiply(constants[pair.reader], factor, axis=0 if pair.depthwise else 1)


def _multiply(tensor: onnx.TensorProto, factor: Array, *, axis: int) -> None:
    value = numpy_helper.to_array(tensor)
    shape = [-1 if i == axis else 1 for i in range(value.ndim)]
    tensor.CopyFrom(numpy_helper.from_array((value * factor.reshape(shape)).astype(value.dtype), tensor.name))
