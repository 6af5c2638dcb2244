"""ONNX Runtime: the graph as it is, or with QDQ nodes, u8 activations and per-channel s8 weights."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgetl.export.targets import Calibration
from edgetl.types import Option, Pixels, Precision

COMPUTE = ("Conv", "Gemm", "MatMul")


def options(precision: Precision) -> dict[str, Option]:
    """None: the precision is typed in the graph."""
    return {}


def convert(source: Path, folder: Path, precision: Precision, calibration: Calibration) -> tuple[str, ...]:
    target = folder / "model.onnx"
    if precision == "fp32":
        shutil.copyfile(source, target)
        return (target.name,)
    prepared = folder / "prepared.onnx"
    logging.getLogger("root").addFilter(_drop_advice)
    try:
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            _Reader(calibration.pixels),
            quant_format=QuantFormat.QDQ,
            per_channel=not calibration.per_tensor,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_kept_in_fp32(prepared),
            # the last matrix product gives the logits; rounding them again would cost accuracy for nothing
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        )
    finally:
        prepared.unlink(missing_ok=True)
        logging.getLogger("root").removeFilter(_drop_advice)
    return (target.name,)


def _kept_in_fp32(path: Path) -> list[str]:
    """The normalisation before the first compute layer, and the softmax."""
    nodes = onnx.load(path).graph.node
    first = next(i for i, node in enumerate(nodes) if node.op_type in COMPUTE)
    return [node.name for i, node in enumerate(nodes) if i < first or node.op_type == "Softmax"]


def _drop_advice(record: logging.LogRecord) -> bool:
    """The quantiser advises to pre-process the model, which it does not notice has been done."""
    return "pre-processing" not in record.getMessage()


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds the calibration samples one by one."""

    def __init__(self, pixels: Pixels) -> None:
        self._feeds: Iterator[dict[str, Any]] = iter({"image": pixels[i : i + 1]} for i in range(len(pixels)))

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)
