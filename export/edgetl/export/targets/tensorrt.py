"""TensorRT: a strongly typed ONNX graph and the recipe to build it. The device builds, for its own GPU and version."""

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from edgetl.errors import ArtefactError, first_line
from edgetl.export.quantisation.bias import correct_biases
from edgetl.export.quantisation.layers import layers
from edgetl.export.quantisation.qdq import quantise
from edgetl.export.quantisation.statistics import Statistics
from edgetl.export.targets import Calibration
from edgetl.export.trt_graph import cast_first, half_scales, in_order, quantise_layer_inputs_only
from edgetl.export.trt_rules import problems
from edgetl.export.typed import MAX_HALF, to_fp16
from edgetl.files import write_bytes, write_json
from edgetl.runtime.tensorrt.recipe import FILE, BuildRecipe
from edgetl.telemetry import no_telemetry
from edgetl.types import Feeds, Option, Precision

with no_telemetry():
    import onnxruntime as ort

TRIED = 8
"""So many calibration images are run through the graph, in fp32 and as it is typed."""


WAYS: tuple[dict[str, bool], ...] = ({},)


def options(precision: Precision) -> dict[str, Option]:
    """None: the precision is typed in the graph, the rest stands in `build.json`."""
    return {}


def convert(source: Path, folder: Path, precision: Precision, calibration: Calibration) -> tuple[str, ...]:
    """Writes `model.onnx` and `build.json`.

    Raises ArtefactError when the graph breaks a rule of TensorRT, or does not answer with finite numbers in fp16.
    """
    model = _quantised(calibration) if precision == "int8" else onnx.load(source)
    cast_first(model)
    _forget_origin(model)
    target = folder / "model.onnx"
    write_bytes(target, model.SerializeToString(deterministic=True))
    if precision != "fp32":
        to_fp16(target, target)
    typed = onnx.load(target)
    if found := problems(typed, precision):
        raise ArtefactError(f"TensorRT would not take the graph: {'; '.join(found)}", hint="use another engine")
    _check_range(typed, calibration.statistics)
    _try(target, calibration.statistics.inputs.part(0, TRIED))
    write_json(folder / FILE, _recipe(typed, precision))
    return (target.name, FILE)


def _quantised(calibration: Calibration) -> ModelProto:
    """The graph with symmetric int8 Q/DQ pairs at the inputs of its layers, on fp32, with scales that fp16 holds."""
    model = quantise(calibration, "symmetric")
    if calibration.quantisation.bias_correction:
        correct_biases(model, calibration)
    in_order(model)
    quantise_layer_inputs_only(model)
    half_scales(model)
    return model


def _recipe(model: ModelProto, precision: Precision) -> BuildRecipe:
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return BuildRecipe(precision=precision, opset=opset, compute=tuple(layers(model)))


def _forget_origin(model: ModelProto) -> None:
    """Drops what torch notes at every node and tensor, the exporting machine's paths among it."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        del part.metadata_props[:]


def _check_range(model: ModelProto, statistics: Statistics) -> None:
    """Refuses a graph whose activations, as seen in fp32, leave the range of the fp16 they are typed as.

    Running the typed graph would not show it: ONNX Runtime computes fp16 in fp32 on a CPU and drops casts to and fro.
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph
    half = [v.name for v in inferred.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT16]
    ranges = statistics.ranges("min-max", min(TRIED, len(statistics.inputs))) if half else {}
    for name in half:
        low, high = ranges.get(name, (0.0, 0.0))
        if max(-low, high) > MAX_HALF:
            raise ArtefactError(
                f"the activation `{name}` reaches {max(-low, high):.0f}, fp16 ends at {MAX_HALF:.0f}",
                hint="export this model for TensorRT as fp32",
            )


def _try(path: Path, feeds: Feeds) -> None:
    """Runs the typed graph on this CPU; TensorRT itself is not here to do it.

    Without optimisations: those of ONNX Runtime 1.31 answer an fp16 Q/DQ MobileNetV2 with noise (-7 dB for 39).
    """
    session_options = ort.SessionOptions()
    session_options.log_severity_level = 3
    session_options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(path, sess_options=session_options, providers=["CPUExecutionProvider"])
        outputs = session.run(None, dict(feeds))
    except Exception as error:
        raise ArtefactError(f"`{path.name}` cannot be run: {first_line(error)}", hint="export it again") from error
    if not all(np.isfinite(output).all() for output in outputs):
        raise ArtefactError(f"`{path.name}` does not answer with finite numbers", hint="check the run it comes from")
