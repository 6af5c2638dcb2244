"""OpenVINO: the graph as IR, its weights in half precision or int8, or quantised by NNCF on the OpenVINO model."""

import contextlib
import io
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx

from edgetl.export.quantisation.layers import behind
from edgetl.export.quantisation.weights_only import compress_weights
from edgetl.export.targets import Calibration
from edgetl.telemetry import no_telemetry
from edgetl.types import Option, Precision

logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # says that there is no CUDA
with no_telemetry():
    import nncf
    import openvino as ov
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet
    from openvino.passes import ConstantFolding, Manager

MADE_UP = re.compile(r"([A-Z][A-Za-z]*)_\d+")
"""A name that OpenVINO gives an operation; those of the graph hold a dot or a slash."""

RANGES = {
    # the full range: NNCF's own mean of per-sample ranges clips, 16 dB against 28 on a small network
    "min-max": RangeEstimatorParametersSet.MINMAX,
    "percentile": RangeEstimatorParametersSet.MEAN_QUANTILE,
    "mse": RangeEstimatorParametersSet.HISTOGRAM,
}


WAYS: tuple[dict[str, bool], ...] = ({},)


def options(precision: Precision) -> dict[str, Option]:
    """What is not quantised runs in fp32 unless said otherwise; the engine's own choice may be bf16."""
    return {"inference_precision": precision if precision in ("fp16", "bf16") else "fp32"}


def convert(source: Path, folder: Path, precision: Precision, calibration: Calibration) -> tuple[str, ...]:
    model = _compressed(source) if precision == "w8" else _folded(source)
    if precision == "int8":
        model = _quantise(model, calibration)
    _number(model)
    # weights in half precision only where that is what was asked for: the default would do it for every fp32 model
    ov.save_model(model, folder / "model.xml", compress_to_fp16=precision == "fp16")
    return ("model.xml", "model.bin")


def _number(model: ov.Model) -> None:
    """Names that OpenVINO makes up count all operations of this process; here they count those of the model."""
    taken: Counter[str] = Counter()
    for operation in model.get_ordered_ops():
        if made_up := MADE_UP.fullmatch(operation.get_friendly_name()):
            kind = made_up.group(1)
            operation.set_friendly_name(f"{kind}_{taken[kind]}")
            taken[kind] += 1


def _folded(source: Path) -> ov.Model:
    """The weights of depthwise convolutions come behind a reshape; unless it is folded before NNCF looks, they stay
    fake-quantised in the file and run in fp32.
    """
    model = ov.Core().read_model(source)
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(model)
    return model


def _compressed(source: Path) -> ov.Model:
    """Not NNCF's weight compression: it gives a depthwise convolution one scale (13 dB on MobileNetV2 against 45)."""
    return ov.Core().read_model(io.BytesIO(compress_weights(onnx.load(source)).SerializeToString()))


def _quantise(model: ov.Model, calibration: Calibration) -> ov.Model:
    recipe = calibration.quantisation
    samples = [dict(batch) for batch in calibration.statistics.inputs.first(recipe.samples).batches(1)]
    advanced = AdvancedQuantizationParameters(
        # one scale for each activation tensor: 20 → 21 dB on MobileNetV2 against NNCF's one per depthwise channel
        activations_quantization_params=QuantizationParameters(per_channel=False),
        activations_range_estimator_params=RANGES[recipe.ranges],
        weights_quantization_params=QuantizationParameters(per_channel=False) if calibration.per_tensor else None,
    )
    with _quietly():
        quantized: ov.Model = nncf.quantize(
            model,
            nncf.Dataset(samples),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(samples),
            fast_bias_correction=not recipe.bias_correction,
            # without it layer norms and sums are rounded too, and outliers drown the rest: MiniLM 18 dB became -0.2
            model_type=None if _convolves(model) else nncf.ModelType.TRANSFORMER,
            ignored_scope=_kept(model, [*recipe.kept, *behind(onnx.load(calibration.statistics.source))]),
            advanced_parameters=advanced,
        )
    return quantized


def _convolves(model: ov.Model) -> bool:
    return any("Convolution" in operation.get_type_name() for operation in model.get_ordered_ops())


def _kept(model: ov.Model, names: Sequence[str]) -> nncf.IgnoredScope | None:
    """The operations of these layers; a layer with a bias became two, the first with a suffix."""
    found = [
        name
        for operation in model.get_ordered_ops()
        if (name := operation.get_friendly_name()).removesuffix("/WithoutBiases") in names
    ]
    # some of what follows the last layer NNCF has folded or does not count as an operation
    return nncf.IgnoredScope(names=found, validate=False) if found else None


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """NNCF's own progress bars go to stdout, where data belongs."""
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield
