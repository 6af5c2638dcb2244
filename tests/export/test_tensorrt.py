"""What TensorRT gets: a typed graph that breaks none of its rules, answers like torch, and a recipe to build it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser
from tests.export.models import images, model_of, task_of

from edgetl.errors import ArtefactError
from edgetl.export.quantisation.statistics import Statistics
from edgetl.export.source import open_source
from edgetl.export.targets import Calibration
from edgetl.export.targets.tensorrt import convert
from edgetl.export.trt_graph import cast_first, half_scales, in_order
from edgetl.export.trt_rules import problems
from edgetl.finetune.graph import deploy, export_onnx, torch_predictor
from edgetl.manifest import Quantisation
from edgetl.runtime.tensorrt.recipe import BatchProfile, read_recipe
from edgetl.types import Array, Pixels, Precision

HEAD = '<ir_version: 10, opset_import: ["" : 20]>'
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


@pytest.fixture(scope="module")
def pixels(dataset: Path, run: Path) -> Pixels:
    opened = open_source(run, None)
    paths = sorted(dataset.glob("val/*/*.png"))[::3]
    return cast(Pixels, task_of(opened).preprocess(paths)["image"])


@pytest.fixture(scope="module")
def folders(run: Path, pixels: Pixels, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The variant's folder of every precision, converted from the run's own network."""
    opened = open_source(run, None)
    root = tmp_path_factory.mktemp("tensorrt")
    export_onnx(deploy(model_of(opened), task_of(opened)), task_of(opened).inputs, root / "source.onnx")
    statistics = Statistics(root / "source.onnx", images(pixels))
    calibration = Calibration(statistics=statistics, quantisation=Quantisation(samples=len(pixels)))
    found: dict[str, Path] = {}
    for precision in PRECISIONS:
        found[precision] = root / precision
        found[precision].mkdir()
        assert convert(root / "source.onnx", root / precision, precision, calibration) == ("model.onnx", "build.json")
    statistics.close()
    return found


def logits(model: Path, pixels: Pixels) -> Array:
    """Without optimisations, which ONNX Runtime 1.31 gets wrong for fp16 Q/DQ graphs."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found: Array = session.run(["logits"], {"image": pixels})[0]
    return found


@pytest.mark.parametrize(("precision", "least_sqnr_db", "largest"), [("fp32", 80, 1e-4), ("fp16", 40, 2e-2)])
def test_the_typed_graph_answers_like_torch(
    folders: dict[str, Path], run: Path, pixels: Pixels, precision: str, least_sqnr_db: float, largest: float
) -> None:
    opened = open_source(run, None)
    right = torch_predictor(model_of(opened), task_of(opened))(pixels)
    found = logits(folders[precision] / "model.onnx", pixels)
    assert np.abs(found - right).max() <= largest
    assert sqnr_db(right, found) >= least_sqnr_db


def test_int8_stays_within_the_tolerance_of_int8(folders: dict[str, Path], run: Path, pixels: Pixels) -> None:
    opened = open_source(run, None)
    right = torch_predictor(model_of(opened), task_of(opened))(pixels)
    found = logits(folders["int8"] / "model.onnx", pixels)
    assert 15 <= sqnr_db(right, found) < 60  # not the fp16 graph again


def sqnr_db(right: Array, found: Array) -> float:
    return float(10 * np.log10(np.square(right).mean() / np.square(right - found).mean()))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_real_network_breaks_no_rule(folders: dict[str, Path], precision: Precision) -> None:
    model = onnx.load(folders[precision] / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert problems(model, precision) == []


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_precision_passes_for_another(folders: dict[str, Path], precision: Precision) -> None:
    model = onnx.load(folders[precision] / "model.onnx")
    assert all(problems(model, other) for other in PRECISIONS if other != precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_recipe_travels_with_the_model(folders: dict[str, Path], precision: Precision) -> None:
    recipe = read_recipe(folders[precision] / "build.json")
    model = onnx.load(folders[precision] / "model.onnx")
    layers = {node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
    assert recipe.precision == precision and recipe.opset == 20 and set(recipe.compute) == layers
    assert recipe.batch == BatchProfile(min=1, opt=1, max=32) and not recipe.tf32
    assert recipe.hardware_compatibility == "none" and not recipe.version_compatible
    assert b"stack_trace" not in (folders[precision] / "model.onnx").read_bytes()


def test_int8_has_pairs_at_the_inputs_of_layers_only(folders: dict[str, Path]) -> None:
    graph = onnx.load(folders["int8"] / "model.onnx").graph
    readers = {name: node for node in graph.node for name in node.input}
    pairs = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    assert {readers[node.output[0]].op_type for node in pairs} == {"Conv", "Gemm"}
    scales = {init.name: numpy_helper.to_array(init) for init in graph.initializer if init.name.endswith("_scale")}
    assert all(scale.dtype == np.float16 for scale in scales.values())
    assert any(scale.size > 1 for scale in scales.values())


# --- the rules, each broken once -----------------------------------------------------------------------------------

HALF_GRAPH = """g (uint8[n,4,4,1] image) => (float[n,2,4,4] logits)
    <float16[2,1,1,1] w, float16[2] b>
    { pixels = Cast<to = 10>(image)  moved = Transpose<perm = [0, 3, 1, 2]>(pixels)
      [layer] out = Conv(moved, w, b)  logits = Cast<to = 1>(out) }"""

INT8_GRAPH = """g (uint8[n,4,4,1] image) => (float[n,2,4,4] logits)
    <int8[2,1,1,1] w, float16 s, float16[2] t, int8 z, int8[2] zz, float16[2] b>
    { pixels = Cast<to = 10>(image)  moved = Transpose<perm = [0, 3, 1, 2]>(pixels)
      [quantise] a = QuantizeLinear(moved, s, z)  [activation] d = DequantizeLinear(a, s, z)
      [weight] e = DequantizeLinear<axis = 0>(w, t, zz)  [layer] out = Conv(d, e, b)  logits = Cast<to = 1>(out) }"""

CONSTANTS: dict[str, Array] = {
    "b": np.array([0.5, -0.5], np.float16),
    "s": np.array(0.25, np.float16),
    "t": np.array([0.5, 0.125], np.float16),
    "z": np.array(0, np.int8),
    "zz": np.zeros(2, np.int8),
}


def graph(text: str, **constants: Array) -> ModelProto:
    """The model of `text`; its declared constants by name, `constants` first."""
    model = parser.parse_model(HEAD + text)
    values = {"w": np.array([1, 2]).reshape(2, 1, 1, 1), **CONSTANTS, **constants}
    declared = {value.name: value for value in model.graph.value_info}
    del model.graph.value_info[:]
    for name, value in declared.items():
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        array = values[name] if name in constants else values[name].astype(kind)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def test_the_graphs_that_the_rules_are_tried_on_are_clean() -> None:
    assert problems(graph(HALF_GRAPH), "fp16") == []
    assert problems(graph(INT8_GRAPH), "int8") == []


SCALES = np.array([0.5, 0.125], np.float16)
NO_SCALE = np.array([0.5, 0.0], np.float16)


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("text", "constants", "precision", "named"),
    [
        (replaced(HALF_GRAPH, ("Conv(", "com.example.Conv(")), {}, "fp16", "its types cannot be inferred"),
        (replaced(HALF_GRAPH, ("logits =", "[dice] u = Bernoulli(out) logits =")), {}, "fp16", "Bernoulli `dice`"),
        (replaced(HALF_GRAPH, ("[0, 3, 1, 2]>(pixels)", "[0, 3, 1, 2]>(image)")), {}, "fp16", "reads uint8"),
        (replaced(HALF_GRAPH, ("float16[2] b", "float[2] b")), {}, "fp16", "Conv `layer` mixes float and float16"),
        (replaced(HALF_GRAPH, ("uint8[n,4,4,1] image", "uint8[n,h,4,1] image")), {}, "fp16", "axis 1 of `image`"),
        (replaced(HALF_GRAPH, ("uint8[n,4,4,1]", "int64[n,4,4,1]")), {}, "fp16", "`image` is int64 at the border"),
        (replaced(HALF_GRAPH, ("uint8[n,4,4,1]", "int64[n,4,4,1]")), {}, "fp16", "makes data of int64"),
        (HALF_GRAPH, {}, "fp32", "Conv `layer` is float16, not float"),
        (HALF_GRAPH, {}, "int8", "only 0 of 1 compute layers are quantised"),
        (INT8_GRAPH, {}, "fp16", "a variant of fp16 carries QuantizeLinear"),
        (INT8_GRAPH, {"z": np.array(3, np.int8)}, "int8", "DequantizeLinear `activation` has a zero point other"),
        (INT8_GRAPH, {"t": NO_SCALE}, "int8", "`weight` has a scale that is not positive and finite"),
        (INT8_GRAPH, {"s": np.array(np.inf, np.float16)}, "int8", "`quantise` has a scale that is not positive"),
        (replaced(INT8_GRAPH, ("int8 z,", "uint8 z,")), {}, "int8", "`quantise` is uint8, not int8"),
        (replaced(INT8_GRAPH, ("axis = 0", "axis = 1")), {}, "int8", "`weight` has its scales on axis 1"),
        (
            replaced(INT8_GRAPH, ("(a, s, z)", "(a, t, zz)")),
            {},
            "int8",
            "`activation` has one scale a channel on the activations",
        ),
        (
            replaced(INT8_GRAPH, ("float16[2] b>", "int32[2] b>"), ("[layer]", "c = DequantizeLinear(b, s) [layer]"))
            .replace("Conv(d, e, b)", "Conv(d, e, c)"),
            {},
            "int8",
            "is int32, not int8, a bias?",
        ),
        (
            replaced(HALF_GRAPH, ("Conv(moved, w, b)", "Conv(moved, w, b) m = ReduceMean(out, axes) "))
            .replace("(uint8[n,4,4,1] image)", "(uint8[n,4,4,1] image, float[n] axes)"),
            {},
            "fp16",
            "input 1 is not a constant",
        ),
        (
            replaced(HALF_GRAPH, ("logits =", "p = MaxPool<kernel_shape = [1, 1], dilations = [2, 2]>(out) logits =")),
            {},
            "fp16",
            "is dilated",
        ),
        (
            replaced(HALF_GRAPH, ("logits = Cast", "p, i = MaxPool<kernel_shape = [1, 1]>(out) logits = Cast")),
            {},
            "fp16",
            "asks for indices",
        ),
    ],
)  # fmt: skip
def test_a_broken_rule_is_named(text: str, constants: dict[str, Array], precision: Precision, named: str) -> None:
    found = problems(graph(text, **constants), precision)
    assert [line for line in found if named in line], found


def opset_24(model: ModelProto) -> None:
    model.opset_import[0].version = 24


def old_opset_with_half_pairs(model: ModelProto) -> None:
    model.opset_import[0].version = 18


def another_file(model: ModelProto) -> None:
    weight = next(init for init in model.graph.initializer if init.name == "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")


def computed_scale(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("s", TensorProto.FLOAT16, []))
    model.graph.initializer.remove(next(init for init in model.graph.initializer if init.name == "s"))


def a_function(model: ModelProto) -> None:
    model.functions.append(helper.make_function("local", "Twice", ["x"], ["y"], [], [helper.make_opsetid("", 20)]))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (opset_24, "opset 24 is not within 19–20"),
        (old_opset_with_half_pairs, "opset 18 is not within 19–20"),
        (another_file, "`w` lies in another file"),
        (computed_scale, "input 1 is not a constant"),
        (a_function, "the function `Twice` is not inlined"),
    ],
)
def test_a_broken_rule_of_the_file_is_named(change: Callable[[ModelProto], Any], named: str) -> None:
    model = graph(INT8_GRAPH)
    change(model)
    assert [line for line in problems(model, "int8") if named in line], problems(model, "int8")


def only(source: Path, pixels: Pixels) -> Calibration:
    return Calibration(statistics=Statistics(source, images(pixels)), quantisation=Quantisation(samples=1))


def test_a_graph_that_tensorrt_would_refuse_is_not_exported(pixels: Pixels, tmp_path: Path) -> None:
    text = """g (uint8[n,32,32,3] image) => (float[n,32,32,3] logits)
        { pixels = Cast<to = 1>(image)  logits = Hardmax(pixels) }"""
    onnx.save(graph(text), tmp_path / "source.onnx")
    calibration = only(tmp_path / "source.onnx", pixels)
    with pytest.raises(ArtefactError, match="TensorRT would not take the graph: no layer computes anything"):
        convert(tmp_path / "source.onnx", tmp_path, "fp32", calibration)
    calibration.statistics.close()


def test_activations_beyond_fp16_are_found_by_running(tmp_path: Path) -> None:
    text = """g (uint8[n,4,4,1] image) => (float[n,2,4,4] logits)
        <float[2,1,1,1] w, float[2,2,1,1] v>
        { pixels = Cast<to = 1>(image)  moved = Transpose<perm = [0, 3, 1, 2]>(pixels)
          out = Conv(moved, w)  logits = Conv(out, v) }"""
    model = graph(text, w=np.full((2, 1, 1, 1), 3e4, np.float32), v=np.full((2, 2, 1, 1), 1e-3, np.float32))
    onnx.save(model, tmp_path / "source.onnx")
    pixels = np.full((2, 4, 4, 1), 255, np.uint8)
    calibration = only(tmp_path / "source.onnx", pixels)
    with pytest.raises(ArtefactError, match="`out` reaches 7650000, fp16 ends at 65504"):
        convert(tmp_path / "source.onnx", tmp_path, "fp16", calibration)
    calibration.statistics.close()


# --- the rewrites ---------------------------------------------------------------------------------------------------


def test_the_cast_of_flipped_pixels_moves_to_the_input_without_a_change() -> None:
    model = parser.parse_model(
        HEAD
        + """g (uint8[n,2,2,3] image) => (float[n,3,2,2] y)
        <int64[1] start = {-1}, int64[1] stop = {-9}, int64[1] axis = {3}, int64[1] step = {-1}>
        { flipped = Slice(image, start, stop, axis, step)  moved = Transpose<perm = [0, 3, 1, 2]>(flipped)
          floats = Cast<to = 1>(moved)  y = Neg(floats) }"""
    )
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    before = ort.InferenceSession(model.SerializeToString()).run(None, {"image": pixels})[0]
    cast_first(model)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Cast", "Slice", "Transpose", "Neg"]
    assert np.array_equal(before, ort.InferenceSession(model.SerializeToString()).run(None, {"image": pixels})[0])


def test_nodes_come_after_what_they_read() -> None:
    model = parser.parse_model(HEAD + "g (float[2] x) => (float[2] y) { a = Neg(x)  b = Abs(a)  y = Exp(b) }")
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    in_order(model)
    assert [node.op_type for node in model.graph.node] == ["Neg", "Abs", "Exp"]


def test_the_scale_of_a_dead_channel_is_not_lost_in_fp16() -> None:
    weights = np.array([[127, -64], [127, 33]], np.int8)
    scales = np.array([1e-12, 3.3333e-7], np.float32)
    text = """g (float[n,2] x) => (float[n,2] y) <int8[2,2] w, float[2] t, int8[2] zz>
        { e = DequantizeLinear<axis = 0>(w, t, zz)  y = MatMul(x, e) }"""
    model = graph(text, w=weights, t=scales)
    half_scales(model)
    stored = {init.name: numpy_helper.to_array(init) for init in model.graph.initializer}
    assert (stored["t"].astype(np.float16) == stored["t"]).all() and (stored["t"] >= scales).all()
    # half a step of the new scale is all that rounding may cost
    error = np.abs(stored["w"] * stored["t"][:, None] - weights * scales[:, None])
    assert (error <= stored["t"][:, None] / 2 * 1.001).all()
