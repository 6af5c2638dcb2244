"""The typed fp16 graph answers like the fp32 one, and keeps in float32 what fp16 would spoil."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper, parser
from tests.export.models import model_of, task_of

from edgetl.errors import ArtefactError
from edgetl.export.source import open_source
from edgetl.export.typed import to_fp16, typed_fp16
from edgetl.finetune.graph import deploy, export_onnx
from edgetl.types import Array, Pixels

HEAD = '<ir_version: 10, opset_import: ["" : 20]>'


@pytest.fixture(scope="module")
def source(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    opened = open_source(run, None)
    path = tmp_path_factory.mktemp("typed") / "source.onnx"
    export_onnx(deploy(model_of(opened), task_of(opened)), task_of(opened).inputs, path)
    return path


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)


def answers(path: Path, pixels: Pixels) -> list[Array]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return list(session.run(None, {"image": pixels}))


def graph(text: str) -> onnx.ModelProto:
    model = parser.parse_model(HEAD + text)
    onnx.checker.check_model(model, full_check=True)
    return model


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of every tensor."""
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {init.name: init.data_type for init in inferred.initializer}


def test_the_answers_are_those_of_fp32(source: Path, pixels: Pixels, tmp_path: Path) -> None:
    to_fp16(source, tmp_path / "half.onnx")
    for right, found in zip(answers(source, pixels), answers(tmp_path / "half.onnx", pixels), strict=True):
        assert found.dtype == np.float32
        assert 0 < np.abs(right - found).max() <= 2e-2


def test_weights_and_compute_are_half_and_the_border_is_as_it_was(source: Path, tmp_path: Path) -> None:
    to_fp16(source, tmp_path / "half.onnx")
    before, after = onnx.load(source), onnx.load(tmp_path / "half.onnx")
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    assert after.opset_import == before.opset_import
    found = kinds(after)
    layers = [node for node in after.graph.node if node.op_type in ("Conv", "Gemm")]
    assert layers and all(found[name] == TensorProto.FLOAT16 for node in layers for name in node.input)
    assert all(found[name] == TensorProto.FLOAT for name in ("scale", "shift"))
    softmax = next(node for node in after.graph.node if node.op_type == "Softmax")
    assert found[softmax.input[0]] == TensorProto.FLOAT
    assert (tmp_path / "half.onnx").stat().st_size < 0.7 * source.stat().st_size


def test_the_same_graph_gives_the_same_bytes_without_a_trace_of_the_machine(source: Path, tmp_path: Path) -> None:
    to_fp16(source, tmp_path / "first.onnx")
    to_fp16(source, tmp_path / "second.onnx")
    content = (tmp_path / "first.onnx").read_bytes()
    assert content == (tmp_path / "second.onnx").read_bytes()
    assert b"stack_trace" not in content


def test_a_weight_that_fp16_cannot_hold_is_named() -> None:
    model = graph("""g (float[n,2] x) => (float[n,2] y)
        <float[2,2] heavy = {70000.0, 1.0, 1.0, 1.0}> { y = MatMul(x, heavy) }""")
    with pytest.raises(ArtefactError, match="`heavy`"):
        typed_fp16(model)


def test_a_constant_that_would_overflow_or_vanish_keeps_its_node_in_float32() -> None:
    model = typed_fp16(
        graph("""g (float[n,2] x) => (float[n,2] y)
        <float[2,2] w = {1.0, 2.0, 3.0, 4.0}, float huge = {1e6}, float tiny = {1e-9}, float two = {2.0}>
        { a = MatMul(x, w)  b = Mul(a, huge)  c = Div(b, two)  d = Add(c, tiny)  y = MatMul(d, w) }""")
    )
    found = kinds(model)
    assert (found["huge"], found["tiny"]) == (TensorProto.FLOAT, TensorProto.FLOAT)
    assert found["a"] == found["w"] == TensorProto.FLOAT16
    assert found["b"] == found["c"] == TensorProto.FLOAT  # what comes of the large values stays wide as well


def test_a_variance_stays_float32_from_the_mean_to_the_root() -> None:
    model = typed_fp16(
        graph("""g (float[n,2] x) => (float[n,2] y)
        <float[2,2] w = {1.0, 2.0, 3.0, 4.0}, float eps = {1e-5}, float two = {2.0}, int64[1] axes = {1}>
        { a = MatMul(x, w)  m = ReduceMean(a, axes)  c = Sub(a, m)  s = Pow(c, two)  v = ReduceMean(s, axes)
          e = Add(v, eps)  r = Sqrt(e)  z = Div(c, r)  y = MatMul(z, w) }""")
    )
    found = kinds(model)
    assert [found[name] for name in "msver"] == [TensorProto.FLOAT] * 5
    assert [found[name] for name in "acz"] == [TensorProto.FLOAT16] * 3


def test_an_output_in_the_middle_is_float32_and_goes_on_as_half() -> None:
    model = typed_fp16(
        graph("""g (float[n,2] x) => (float[n,2] embedding, float[n,2] y)
        <float[2,2] w = {1.0, 2.0, 3.0, 4.0}> { embedding = MatMul(x, w)  y = MatMul(embedding, w) }""")
    )
    assert [value.type.tensor_type.elem_type for value in model.graph.output] == [TensorProto.FLOAT] * 2
    last = next(node for node in model.graph.node if node.op_type == "MatMul" and "embedding" not in node.output[0])
    assert kinds(model)[last.input[0]] == TensorProto.FLOAT16


def test_the_scales_of_a_resize_stay_float32() -> None:
    model = typed_fp16(
        graph("""g (float[n,1,2,2] x) => (float[n,1,4,4] y)
        <float[1,1,1,1] w = {1.0}, float[4] scales = {1.0, 1.0, 2.0, 2.0}, float[0] roi = {}, float low = {-3.0}>
        { a = Conv(x, w)  b = Resize(a, roi, scales)  c = Max(b, low)  y = Conv(c, w) }""")
    )
    found = kinds(model)
    assert found["scales"] == TensorProto.FLOAT and found["b"] == TensorProto.FLOAT16


def test_the_scales_of_a_quantised_graph_become_half() -> None:
    model = typed_fp16(
        graph("""g (float[n,2] x) => (float[n,2] y)
        <int8[2,2] q = {1, 2, 3, 4}, float[2] s = {0.5, 0.25}, float t = {0.1}, int8 z = {0}, int8[2] zz = {0, 0}>
        { a = QuantizeLinear(x, t, z)  b = DequantizeLinear(a, t, z)  w = DequantizeLinear<axis = 1>(q, s, zz)
          y = MatMul(b, w) }""")
    )
    found = kinds(model)
    assert found["q"] == TensorProto.INT8 and found["s"] == found["t"] == found["w"] == TensorProto.FLOAT16
    stored = {init.name: numpy_helper.to_array(init) for init in model.graph.initializer}
    assert np.array_equal(stored["s"], np.array([0.5, 0.25], np.float16))


def test_control_flow_is_refused() -> None:
    model = parser.parse_model(
        HEAD
        + """g (bool c, float[2] x) => (float[2] y)
        { y = If (c) <then_branch = t () => (float[2] p) { p = Identity(x) },
                      else_branch = e () => (float[2] q) { q = Neg(x) }> }"""
    )
    with pytest.raises(ArtefactError, match="`If`"):
        typed_fp16(model)
