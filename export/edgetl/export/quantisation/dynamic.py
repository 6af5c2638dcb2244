"""ONNX graphs whose matrix products are int8 with scales found anew for every input: nothing to calibrate.

What an activation ranges over depends on the sentence, and one scale for all of them must fit the widest.
Reference: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "Dynamic quantization".
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import onnx

from edgetl.telemetry import no_telemetry

with no_telemetry():
    from onnxruntime.quantization import QuantType, quantize_dynamic

PRODUCTS = ["Gemm", "MatMul"]


def quantise_dynamically(prepared: Path, target: Path, *, per_tensor: bool, kept: Sequence[str]) -> None:
    """Writes `prepared` with int8 weights, one scale for each output channel unless `per_tensor`, to `target`.

    Products of two activations stay in floating point, as do the layers `kept`.
    """
    logging.getLogger().addFilter(_drop_advice)
    try:
        quantize_dynamic(
            onnx.load(prepared),
            target,
            op_types_to_quantize=PRODUCTS,
            per_channel=not per_tensor,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(kept),
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        logging.getLogger().removeFilter(_drop_advice)


def _drop_advice(record: logging.LogRecord) -> bool:
    """The quantiser advises to pre-process the model, which it does not notice has been done."""
    return "pre-processing" not in record.getMessage()
