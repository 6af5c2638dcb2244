"""ONNX graphs with QuantizeLinear and DequantizeLinear around their compute layers, by ONNX Runtime's quantiser."""

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx

from edgetl.export.quantisation.layers import COMPUTE, behind
from edgetl.export.quantisation.statistics import Ranges
from edgetl.export.targets import Calibration
from edgetl.telemetry import no_telemetry

with no_telemetry():
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

LOWEST = "edgetl_lowest"
CLAMPS = ("Relu", "Clip")

Activations = Literal["unsigned", "symmetric"]
"""uint8 with a zero point (ONNX Runtime on CPUs), or int8 around zero (TensorRT)."""


def quantise(
    calibration: Calibration, activations: Activations = "unsigned", *, only: Sequence[str] = ()
) -> onnx.ModelProto:
    """The calibration's graph with QDQ pairs as its recipe says; `only` leaves all layers but these in fp32.

    Per-channel int8 weights (one scale a tensor on request). Biases are int32 for unsigned activations; TensorRT
    wants them in floating point.
    """
    recipe, statistics = calibration.quantisation, calibration.statistics
    model = load_model_with_shape_infer(statistics.prepared)
    symmetric = activations == "symmetric"
    operators = _operators(model)
    quantizer = QDQQuantizer(
        model,
        not calibration.per_tensor,
        False,
        QuantType.QInt8,
        QuantType.QInt8 if symmetric else QuantType.QUInt8,
        _tensors(statistics.ranges(recipe.ranges, recipe.samples)),
        _with_clamps(model, only),
        [*_outside(model), *_with_clamps(model, recipe.kept)],
        operators,
        {
            # the last matrix product gives the logits; rounding them again would cost accuracy for nothing
            "OpTypesToExcludeOutputQuantization": ["Gemm"],
            "ActivationSymmetric": symmetric,
            "QuantizeBias": not symmetric,
        },
    )
    logging.getLogger().addFilter(_drop_advice)
    try:
        quantizer.quantize_model()
    finally:
        logging.getLogger().removeFilter(_drop_advice)
    quantizer.model.topological_sort()
    quantised: onnx.ModelProto = quantizer.model.model
    _guard(quantised, recipe.kept)
    return quantised


def _operators(model: onnx.ModelProto) -> list[str]:
    """What is quantised: everything that can be in a network of convolutions, whose layers follow each other in int8.

    Between the matrix products of a transformer lie softmax and layer norms, which rounding harms and which ONNX
    Runtime fuses only in floating point.
    """
    if not any(node.op_type == "Conv" for node in model.graph.node):
        return ["Gemm", "MatMul"]
    # sorted: the order of a set of strings differs from process to process
    return sorted({*QLinearOpsRegistry, *QDQRegistry})


def _guard(model: onnx.ModelProto, kept: Sequence[str]) -> None:
    """Puts max(x, lowest float) before the layers that stay in fp32 between int8 neighbours.

    ONNX Runtime (`WeightBiasQuantization`, since 1.20) otherwise quantises their weights itself when it opens the file,
    with one scale for the whole tensor: MobileNetV2 with one depthwise layer kept fell from 22 to −3 dB.
    """
    made = {output: node for node in model.graph.node for output in node.output}
    rounded = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    clamped = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type in CLAMPS}
    ends = rounded | {clamped[name] for name in rounded if name in clamped}
    between = [
        node
        for node in model.graph.node
        if node.name in kept and node.output[0] in ends and _opcode(made.get(node.input[0])) == "DequantizeLinear"
    ]
    if between:
        lowest = np.array(np.finfo(np.float32).min, np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(lowest, LOWEST))
    for node in between:
        guard = onnx.helper.make_node(
            "Max", [node.input[0], LOWEST], [f"{node.name}_guarded"], name=f"{node.name}_guard"
        )
        node.input[0] = guard.output[0]
        model.graph.node.insert(list(model.graph.node).index(node), guard)


def _opcode(node: onnx.NodeProto | None) -> str:
    return node.op_type if node else ""


def _with_clamps(model: onnx.ModelProto, names: Sequence[str]) -> list[str]:
    """These layers and the clamps right behind them.

    The quantiser makes a clamp part of the layer's output range. With only one of the two in int8 it would round the
    values before the clamp instead, whose range is far wider.
    """
    made = {output: node.name for node in model.graph.node for output in node.output if node.name in names}
    clamps = [node.name for node in model.graph.node if node.op_type in CLAMPS and node.input[0] in made]
    return [*names, *clamps]


def _outside(model: onnx.ModelProto) -> list[str]:
    """The normalisation before the first compute layer, each softmax, and what follows the last: they stay in fp32."""
    first = next(i for i, node in enumerate(model.graph.node) if node.op_type in COMPUTE)
    inner = [node.name for i, node in enumerate(model.graph.node) if i < first or node.op_type == "Softmax"]
    return [*inner, *behind(model)]


def _tensors(ranges: Ranges) -> TensorsData:
    found = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    return TensorsData(CalibrationMethod.MinMax, found)


def _drop_advice(record: logging.LogRecord) -> bool:
    """The quantiser advises to pre-process the model, which it does not notice has been done."""
    return "pre-processing" not in record.getMessage()
