"""Accurate bias correction of a QDQ graph: each bias makes up for the mean error its layer has on real images.

One layer after the other from the input on, so that each sees inputs already corrected.
Reference: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
section 4.2, measured on calibration images instead of derived.
"""

import numpy as np
import onnx
from onnx import numpy_helper

from edgetl.export.quantisation.layers import COMPUTE
from edgetl.export.quantisation.observing import values
from edgetl.export.targets import Calibration
from edgetl.tasks.inputs import Inputs
from edgetl.types import Array, Track, silent

IMAGES = 32
"""The mean over this many images and all positions is steady enough; docs/export.md has the measurement."""

BATCH = 8


def correct_biases(model: onnx.ModelProto, calibration: Calibration, track: Track = silent) -> int:
    """Changes the biases of `model` in place; how many layers it reached. A layer without bias is left as it is."""
    inputs = calibration.statistics.inputs.first(IMAGES)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = [node for node in model.graph.node if node.op_type in COMPUTE and len(node.input) == 3]
    biases = {node.name: found for node in layers if (found := _bias(model, node, constants))}
    # by the layer's name: the quantiser may drop a ReLU and give the layer the name of its output
    original = onnx.load(calibration.statistics.prepared)
    outputs = {node.name: node.output[0] for node in original.graph.node if node.name in biases}
    expected = _means(original, list(outputs.values()), inputs)
    corrected = [node for node in layers if node.name in outputs]
    for node in track(corrected, "correct biases", len(corrected)):
        error = expected[outputs[node.name]] - _means(model, [node.output[0]], inputs)[node.output[0]]
        _add(*biases[node.name], error)
    return len(biases)


def _bias(
    model: onnx.ModelProto, node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> tuple[onnx.TensorProto, Array | None] | None:
    """The stored bias and its scales; None scales for a bias in floating point."""
    name = node.input[2]
    if name in constants:
        return constants[name], None
    for other in model.graph.node:
        if name in other.output and other.op_type == "DequantizeLinear" and other.input[0] in constants:
            return constants[other.input[0]], numpy_helper.to_array(constants[other.input[1]])
    return None


def _add(bias: onnx.TensorProto, scale: Array | None, error: Array) -> None:
    stored = numpy_helper.to_array(bias)
    added = error.astype(stored.dtype) if scale is None else np.round(error / scale).astype(np.int64)
    limits = np.iinfo(np.int32)
    total = stored + added if scale is None else np.clip(stored.astype(np.int64) + added, limits.min, limits.max)
    bias.CopyFrom(numpy_helper.from_array(total.astype(stored.dtype), bias.name))


def _means(model: onnx.ModelProto, names: list[str], inputs: Inputs) -> dict[str, Array]:
    """For each tensor its mean over images and positions, shape (channels,)."""
    if not names:
        return {}
    found: dict[str, list[Array]] = {name: [] for name in names}
    for outputs in values(model, names, inputs.batches(BATCH)):
        for name, value in outputs.items():
            channels = value if value.ndim == 2 else value.mean(axis=tuple(range(2, value.ndim)))
            found[name].append(channels)
    return {name: np.concatenate(parts).mean(axis=0, dtype=np.float64) for name, parts in found.items()}
