"""ONNX Runtime: the graph as it is, typed fp16, with QDQ nodes (u8 activations), dynamic, or with int8 weights only."""

import shutil
from pathlib import Path

import onnx

from edgetl.export.quantisation.bias import correct_biases
from edgetl.export.quantisation.dynamic import quantise_dynamically
from edgetl.export.quantisation.qdq import quantise
from edgetl.export.quantisation.weights_only import compress_weights
from edgetl.export.targets import Calibration
from edgetl.export.typed import to_fp16
from edgetl.types import Option, Precision

WAYS: tuple[dict[str, bool], ...] = ({}, {"dynamic": True})
"""What is usual for graphs of matrix products: scales that were calibrated, or found anew for each input."""


def options(precision: Precision) -> dict[str, Option]:
    """None: the precision is typed in the graph."""
    return {}


def convert(source: Path, folder: Path, precision: Precision, calibration: Calibration) -> tuple[str, ...]:
    target = folder / "model.onnx"
    if precision == "fp32":
        shutil.copyfile(source, target)
    elif precision == "fp16":
        to_fp16(source, target)
    elif precision == "w8":
        onnx.save(compress_weights(onnx.load(source)), target)
    elif calibration.quantisation.dynamic:
        recipe, prepared = calibration.quantisation, calibration.statistics.prepared
        quantise_dynamically(prepared, target, per_tensor=calibration.per_tensor, kept=recipe.kept)
    else:
        model = quantise(calibration)
        if calibration.quantisation.bias_correction:
            correct_biases(model, calibration)
        onnx.save(model, target)
    return (target.name,)
