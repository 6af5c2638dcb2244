"""OpenVINO: the graph as IR, or quantised by NNCF on the OpenVINO model."""

import contextlib
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import openvino as ov
from openvino.passes import ConstantFolding, Manager

from edgetl.export.targets import Calibration
from edgetl.types import Option, Precision


@contextlib.contextmanager
def _without_telemetry() -> Iterator[None]:
    """NNCF reports its use to its makers unless this variable is set while it is imported."""
    before = os.environ.get("NNCF_CI")
    os.environ["NNCF_CI"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["NNCF_CI"]
        else:
            os.environ["NNCF_CI"] = before


logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # says that there is no CUDA
with _without_telemetry():
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet


def options(precision: Precision) -> dict[str, Option]:
    """What is not quantised runs in fp32; the engine's own choice may be bf16."""
    return {"inference_precision": "fp32"}


def convert(source: Path, folder: Path, precision: Precision, calibration: Calibration) -> tuple[str, ...]:
    model = ov.Core().read_model(source)
    # the weights of depthwise convolutions come behind a reshape; unless it is folded before NNCF looks, they
    # stay fake-quantised in the file and run in fp32
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(model)
    if precision == "int8":
        model = _quantize(model, calibration)
    # the default would store the weights of an fp32 model in fp16
    ov.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return ("model.xml", "model.bin")


def _quantize(model: ov.Model, calibration: Calibration) -> ov.Model:
    samples = [calibration.pixels[i : i + 1] for i in range(len(calibration.pixels))]
    advanced = AdvancedQuantizationParameters(
        # one scale for each activation tensor: 20 → 21 dB on MobileNetV2 against NNCF's one per depthwise channel
        activations_quantization_params=QuantizationParameters(per_channel=False),
        # the full range: NNCF's own mean of per-sample ranges clips, 16 dB against 28 on a small network
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        weights_quantization_params=QuantizationParameters(per_channel=False) if calibration.per_tensor else None,
    )
    nncf.set_log_level(logging.ERROR)
    # its own progress bars go to stdout, where data belongs
    with contextlib.redirect_stdout(io.StringIO()):
        quantized: ov.Model = nncf.quantize(
            model,
            nncf.Dataset(samples),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(samples),
            advanced_parameters=advanced,
        )
    return quantized
