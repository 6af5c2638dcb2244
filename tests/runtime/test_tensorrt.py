"""TensorRT: recipe, cache, batches and the inspector's answer without a GPU; the engine itself on one."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgetl import plugins
from edgetl.errors import ArtefactError, EngineError
from edgetl.runtime.engines import compute_precision, open_engine
from edgetl.runtime.precision import precision_problem
from edgetl.runtime.tensorrt.batches import LENGTH, checked, in_pieces, largest_shape, pieces, profile_shapes
from edgetl.runtime.tensorrt.cache import (
    EngineKey,
    content_hash,
    engine_path,
    exclusive,
    find,
    store,
    timing_path,
)
from edgetl.runtime.tensorrt.inspect import executed_layers
from edgetl.runtime.tensorrt.recipe import BuildRecipe, LengthProfile, read_recipe
from edgetl.types import Array, EngineFacts, Outputs, Precision, TensorSpec

KEY = EngineKey(
    content="0123456789abcdef" * 4,
    gpu="NVIDIA Orin Nano",
    compute_capability="8.7",
    processors=8,
    driver="540.4.0/12060",
    tensorrt="10.12.0.36",
)
IMAGE = TensorSpec(name="image", dtype="uint8", shape=("batch", 4, 4, 3))


# --- the recipe -----------------------------------------------------------------------------------------------------


def test_a_recipe_reads_back_and_newer_keys_do_not_matter(tmp_path: Path) -> None:
    recipe = BuildRecipe(precision="fp16", opset=20, compute=("conv",))
    document = msgspec.to_builtins(recipe) | {"schema": "1.7", "later": True}
    (tmp_path / "build.json").write_text(json.dumps(document))
    assert read_recipe(tmp_path / "build.json") == msgspec.structs.replace(recipe, schema="1.7")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "2.0"}, "reads up to"),
        ({"batch": {"min": 1, "opt": 64, "max": 32}}, "not ascending"),
        ({"batch": {"min": 0, "opt": 1, "max": 32}}, "cannot be read"),
        ({"length": {"min": 1, "opt": 64, "max": 32}}, "length profile .* not ascending"),
        ({"length": {"min": 1}}, "cannot be read"),
        ({"hardware_compatibility": "volta+"}, "cannot be read"),
        ({"precision": "fp12"}, "cannot be read"),
    ],
)
def test_a_recipe_that_cannot_be_built_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    recipe = msgspec.to_builtins(BuildRecipe(precision="fp16", opset=20, compute=())) | change
    (tmp_path / "build.json").write_text(json.dumps(recipe))
    with pytest.raises(ArtefactError, match=said):
        read_recipe(tmp_path / "build.json")


# --- the cache ------------------------------------------------------------------------------------------------------


def test_an_engine_is_found_again_for_the_same_machine_only(tmp_path: Path) -> None:
    place = engine_path(tmp_path, KEY)
    assert find(place, KEY).payload is None and not find(place, KEY).problem
    store(place, KEY, b"engine\nwith lines")
    assert find(place, KEY).payload == b"engine\nwith lines"
    others = {
        "content": "f" * 64,
        "gpu": "NVIDIA A2",
        "compute_capability": "8.6",
        "processors": 4,
        "driver": "550.1",
        "tensorrt": "11.4.0.106",
    }
    for field, value in others.items():
        assert engine_path(tmp_path, msgspec.structs.replace(KEY, **{field: value})) != place


def test_every_word_of_the_recipe_and_every_byte_of_the_model_counts(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"one")
    recipe = BuildRecipe(precision="fp16", opset=20, compute=())
    first = content_hash(tmp_path / "model.onnx", recipe)
    assert content_hash(tmp_path / "model.onnx", msgspec.structs.replace(recipe, workspace_bytes=1)) != first
    (tmp_path / "model.onnx").write_bytes(b"two")
    assert content_hash(tmp_path / "model.onnx", recipe) != first


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda raw: raw[:-3], "cut off: 7 of 10"),
        (lambda raw: raw[:-1] + b"!", "checksum"),
        (lambda raw: raw[:20], "damaged header"),
        (lambda raw: b"", "no engine"),
        (lambda raw: b"\x00" * 5000, "no engine"),
        (lambda raw: raw.replace(b"10.12", b"10.13"), "something else"),
    ],
)
def test_a_damaged_engine_is_told_from_none(damage: Any, said: str, tmp_path: Path) -> None:
    place = engine_path(tmp_path, KEY)
    store(place, KEY, b"0123456789")
    place.write_bytes(damage(place.read_bytes()))
    assert find(place, KEY).payload is None and said in find(place, KEY).problem


def test_a_new_engine_replaces_that_of_an_older_driver_and_no_other(tmp_path: Path) -> None:
    newer = msgspec.structs.replace(KEY, driver="560.0/13000")
    second_gpu = msgspec.structs.replace(KEY, gpu="NVIDIA Orin NX")
    other_model = msgspec.structs.replace(KEY, content="e" * 64)
    for key in (KEY, second_gpu, other_model):
        store(engine_path(tmp_path, key), key, b"engine")
    store(timing_path(tmp_path, KEY), msgspec.structs.replace(KEY, content="timings"), b"timings")
    store(engine_path(tmp_path, newer), newer, b"engine")
    assert not engine_path(tmp_path, KEY).exists()
    assert all(find(engine_path(tmp_path, key), key).payload for key in (newer, second_gpu, other_model))
    assert timing_path(tmp_path, KEY).exists() and timing_path(tmp_path, newer) != timing_path(tmp_path, KEY)


WRITE_OFTEN = """
import sys
from pathlib import Path
import msgspec
from edgetl.runtime.tensorrt.cache import EngineKey, engine_path, store
key = msgspec.json.decode(sys.argv[2], type=EngineKey)
for _ in range(60):
    store(engine_path(Path(sys.argv[1]), key), key, bytes([int(sys.argv[3])]) * 200_000)
"""


def test_processes_that_write_at_once_leave_one_whole_engine(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", WRITE_OFTEN, str(tmp_path), msgspec.json.encode(KEY).decode()]
    writers = [subprocess.Popen([*arguments, byte]) for byte in ("1", "2")]
    while any(writer.poll() is None for writer in writers):
        entry = find(engine_path(tmp_path, KEY), KEY)
        assert not entry.problem and (entry.payload is None or len(set(entry.payload)) == 1)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == [engine_path(tmp_path, KEY).name]


def test_only_one_builds_at_a_time(tmp_path: Path) -> None:
    with exclusive(tmp_path), (tmp_path / "build.lock").open("ab") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / "build.lock").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


# --- batches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (32, [32]), (33, [16, 17]), (64, [32, 32]), (65, [21, 22, 22])])
def test_a_large_batch_goes_through_in_even_pieces(count: int, sizes: list[int]) -> None:
    assert [piece.stop - piece.start for piece in pieces(count, 1, 32)] == sizes


def test_a_batch_below_the_profile_is_refused() -> None:
    with pytest.raises(EngineError, match="profile of 4 to 8"):
        pieces(3, 4, 8)
    with pytest.raises(EngineError, match="profile of 8 to 8"):
        pieces(12, 8, 8)


TOKENS = [TensorSpec(name=name, dtype="int64", shape=("batch", LENGTH)) for name in ("ids", "mask")]
TEXTS = BuildRecipe(precision="fp16", opset=20, compute=(), length=LengthProfile(opt=16, max=64))


def test_texts_of_any_length_are_taken_and_inputs_of_two_lengths_are_not() -> None:
    def ids(*shape: int) -> Array:
        return np.zeros(shape, np.int64)

    assert checked({"ids": ids(3, 7), "mask": ids(3, 7)}, TOKENS) == 3
    for wrong, said in (
        ((ids(3, 7), ids(3, 8)), r"lengths of the inputs are \[7, 8\]"),
        ((ids(3, 0), ids(3, 0)), r"lengths of the inputs are \[0\]"),
        ((ids(3, 7), ids(2, 7)), "batch sizes"),
        ((ids(3, 7), ids(3, 7).astype(np.int32)), "is int32"),
        ((ids(3, 7, 1), ids(3, 7)), "not int64"),
    ):
        with pytest.raises(EngineError, match=said):
            checked(dict(zip(("ids", "mask"), wrong, strict=True)), TOKENS)


def test_the_profile_spans_batches_and_lengths() -> None:
    assert profile_shapes((-1, -1), TEXTS) == [(1, 1), (1, 16), (32, 64)]
    assert profile_shapes((-1, 8, 8, 3), TEXTS) == [(1, 8, 8, 3), (1, 8, 8, 3), (32, 8, 8, 3)]
    assert largest_shape(("batch", LENGTH), TEXTS) == (32, 64) and largest_shape(("batch", 2), TEXTS) == (32, 2)
    without = msgspec.structs.replace(TEXTS, length=None)
    for ask in (lambda: profile_shapes((-1, -1), without), lambda: largest_shape(("batch", LENGTH), without)):
        with pytest.raises(EngineError, match=r"`build\.json` says none"):
            ask()


def test_pieces_come_back_in_order() -> None:
    images = np.arange(70, dtype=np.float32)[:, None]
    seen: list[int] = []

    def double(feeds: Any) -> Outputs:
        seen.append(len(feeds["image"]))
        return {"logits": feeds["image"] * 2}

    outputs = in_pieces({"image": images}, pieces(70, 1, 32), double)
    assert np.array_equal(outputs["logits"], images * 2) and seen == [23, 23, 24]


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ({}, "`image` is missing"),
        ({"image": np.zeros((2, 4, 4, 3), np.float32)}, "is float32"),
        ({"image": np.zeros((2, 4, 5, 3), np.uint8)}, r"\(2, 4, 5, 3\)"),
        ({"image": np.zeros((4, 4, 3), np.uint8)}, r"\(4, 4, 3\)"),
        ({"image": np.zeros((0, 4, 4, 3), np.uint8)}, "batch sizes"),
    ],
)
def test_feeds_that_would_overrun_memory_are_refused(feeds: dict[str, Any], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        checked(feeds, [IMAGE])


# --- the inspector --------------------------------------------------------------------------------------------------


def layer(kind: str, nodes: str, tensor: str, **more: Any) -> dict[str, Any]:
    metadata = "\x1f".join(f"[ONNX Layer: {node}]" for node in nodes.split())
    inputs = [{"Name": "x", "Dimensions": [1, 8], "Format/Datatype": tensor}]
    return {"Name": f"{kind}({nodes})", "LayerType": kind, "Metadata": metadata, "Inputs": inputs, **more}


def layers(*found: dict[str, Any], compute: tuple[str, ...] = ("conv_1", "conv_2", "linear")) -> dict[str, int]:
    return executed_layers(json.dumps({"Layers": found, "Bindings": ["image", "logits"]}), compute)


def test_layers_are_counted_by_the_nodes_they_were_made_of() -> None:
    found = layers(
        layer("Reformat", "conv_1", "Float"),
        layer("CaskConvolution", "conv_1 relu_1", "Half", Weights={"Type": "Half", "Count": 9}),
        layer("CaskConvolution", "conv_2", "Thirty-two wide channel vectorized row major Int8 format"),
        layer("PointWise", "softmax", "Float"),
        layer("gemm", "linear", "Row major linear FP16 format", TacticName="sm80_xmma_gemm_f16f16_f16f32_f32_tn_n"),
    )
    assert found == {"fp16": 2, "int8": 1}


def test_fp32_on_a_tf32_kernel_is_not_called_fp32() -> None:
    tactic = "sm80_xmma_fprop_implicit_gemm_f32f32_tf32f32_f32_nhwckrsc_nhwc"
    found = layers(layer("CaskConvolution", "conv_1 conv_2 linear", "Float", TacticName=tactic))
    assert found == {"tf32": 3}
    facts = EngineFacts(
        engine="tensorrt", version="11", provider="gpu", precision=compute_precision(found), threads=0, layers=found
    )
    assert "3 layers in tf32" in str(precision_problem("fp32", facts))


def test_the_kernel_that_multiplies_speaks_for_a_node_that_two_layers_name() -> None:
    found = layers(
        layer("kgen", "linear", "Float", TacticName="__myl_CastMul_myl0_1"),
        layer("gemm", "linear", "Half", TacticName="sm80_xmma_gemm_f16f16_f16f16_f16_nn"),
        compute=("linear",),
    )
    assert found == {"fp16": 1}


def test_a_node_that_no_layer_claims_is_unknown_and_breaks_the_declaration() -> None:
    found = layers(layer("CaskConvolution", "conv_1", "Half"), compute=("conv_1", "conv_2"))
    assert found == {"fp16": 1, "unknown": 1}


def test_layer_names_stand_in_for_missing_metadata() -> None:
    entry = layer("CaskConvolution", "", "Int8") | {"Name": "conv_1 + relu_1", "Metadata": ""}
    assert layers(entry, compute=("conv_1",)) == {"int8": 1}


@pytest.mark.parametrize("answer", ["", "[]", '{"layers": []}', '{"Layers": ["conv_1", "conv_2"]}'])
def test_an_answer_without_details_is_an_error(answer: str) -> None:
    with pytest.raises(EngineError, match=r"inspector|detailed"):
        executed_layers(answer, ("conv_1",))


# --- the device -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n", "540.4.0"),
        ("", "unknown"),
    ],
)
def test_the_driver_is_read_from_the_kernel_module(text: str, version: str) -> None:
    device = pytest.importorskip("edgetl.runtime.tensorrt.device", reason="cuda-bindings is not installed")
    assert device.module_version(text) == version


def test_without_a_gpu_the_error_says_so() -> None:
    device = pytest.importorskip("edgetl.runtime.tensorrt.device", reason="cuda-bindings is not installed")
    if has_gpu():
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineError, match=r"CUDA: .*(driver|device)"):
        device.describe(0)


def has_gpu() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/nvgpu").exists()


# --- the engine -----------------------------------------------------------------------------------------------------


@pytest.fixture
def gpu() -> None:
    if missing := plugins.missing(plugins.ENGINES["tensorrt"]):
        pytest.skip(f"`{missing[0]}` is not installed")
    if not has_gpu():
        pytest.skip("this machine has no GPU")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_is_built_answers_like_torch_and_is_found_again(
    gpu: None, precision: Precision, run: Path, dataset: Path, tmp_path: Path
) -> None:
    """The whole way on a real GPU: build, numbers, precision, large batches, cache, a damaged cache."""
    from tests.export.models import images, model_of, task_of

    from edgetl.export.quantisation.statistics import Statistics
    from edgetl.export.source import open_source
    from edgetl.export.targets import Calibration
    from edgetl.export.targets.tensorrt import convert
    from edgetl.finetune.graph import deploy, export_onnx, torch_predictor
    from edgetl.manifest import Quantisation

    source = open_source(run, None)
    pixels = task_of(source).preprocess(sorted(dataset.glob("val/*/*.png"))[:40])["image"]
    export_onnx(deploy(model_of(source), task_of(source)), task_of(source).inputs, tmp_path / "source.onnx")
    statistics = Statistics(tmp_path / "source.onnx", images(pixels))
    calibration = Calibration(statistics=statistics, quantisation=Quantisation(samples=40))
    convert(tmp_path / "source.onnx", tmp_path, precision, calibration)
    statistics.close()
    options = {"cache": str(tmp_path / "cache")}

    engine = open_engine("tensorrt", tmp_path / "model.onnx", options)
    right = torch_predictor(model_of(source), task_of(source))(pixels)
    found = engine.run({"image": pixels})["logits"]  # 40 samples through a profile of 32
    one_by_one = np.concatenate([engine.run({"image": pixels[i : i + 1]})["logits"] for i in range(4)])
    if precision == "int8":
        assert 10 * np.log10(np.square(right).mean() / np.square(right - found).mean()) >= 15
    else:
        assert np.abs(right - found).max() <= {"fp32": 1e-3, "fp16": 2e-2}[precision]
    assert np.abs(one_by_one - found[:4]).max() <= 2e-2 * max(1, np.abs(right).max())
    assert precision_problem(precision, engine.facts) is None, engine.facts
    engine.close()

    (built,) = (tmp_path / "cache").glob("*.engine")
    before = built.read_bytes()
    again = open_engine("tensorrt", tmp_path / "model.onnx", options)
    assert np.array_equal(again.run({"image": pixels})["logits"], found)
    again.close()
    assert built.read_bytes() == before

    built.write_bytes(before[: len(before) // 2])
    with pytest.warns(RuntimeWarning, match="built again"):
        rebuilt = open_engine("tensorrt", tmp_path / "model.onnx", options)
    assert np.abs(rebuilt.run({"image": pixels})["logits"] - right).max() < np.inf
    rebuilt.close()
