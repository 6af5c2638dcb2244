"""A variant becomes a model repository that Triton can read, or is refused where Triton would run something else."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from edgetl.bundle import Bundle, open_bundle
from edgetl.errors import ArtefactError, ConfigError
from edgetl.export.triton import first_servable, write_repository
from edgetl.runtime.engines import open_engine

TYPES = model_config_pb2.DataType
KINDS = model_config_pb2.ModelInstanceGroup


def config_of(folder: Path) -> Any:
    """As Triton reads it: a misspelt field or a wrong value does not parse."""
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def with_options(bundle: Bundle, variant: str, **changes: object) -> Bundle:
    """The bundle with another record of one variant; its files stay."""
    records = tuple(
        msgspec.structs.replace(record, **changes) if record.id == variant else record
        for record in bundle.manifest.variants
    )
    return Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, variants=records))


def test_an_onnx_variant_is_served_as_it_is(bundle: Path, tmp_path: Path) -> None:
    folder = write_repository(open_bundle(bundle), "onnxruntime-int8", tmp_path, name="stripes")
    assert folder == tmp_path / "stripes"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "1/model.onnx", "config.pbtxt", "labels.txt",
    ]  # fmt: skip
    assert (folder / "1" / "model.onnx").read_bytes() == (bundle / "onnxruntime-int8" / "model.onnx").read_bytes()
    assert (folder / "labels.txt").read_text().split() == ["amber", "moss", "slate"]
    config = config_of(folder)
    assert (config.name, config.backend, config.default_model_filename) == ("stripes", "onnxruntime", "model.onnx")
    assert config.max_batch_size == 8 and config.HasField("dynamic_batching")
    (image,) = config.input
    assert (image.name, image.data_type, list(image.dims)) == ("image", TYPES.TYPE_UINT8, [32, 32, 3])
    named = [(output.name, output.data_type, list(output.dims), output.label_filename) for output in config.output]
    assert named == [
        ("logits", TYPES.TYPE_FP32, [3], ""), ("probabilities", TYPES.TYPE_FP32, [3], "labels.txt"),
    ]  # fmt: skip
    assert [(group.count, group.kind) for group in config.instance_group] == [(1, KINDS.KIND_CPU)]


def test_the_tensors_are_those_of_the_model(bundle: Path, tmp_path: Path) -> None:
    """Triton refuses a model whose own tensors are others than the configuration's."""
    for variant, file in (("onnxruntime-fp32", "model.onnx"), ("openvino-fp32", "model.xml")):
        folder = write_repository(open_bundle(bundle), variant, tmp_path, fast=True)
        config = config_of(folder)
        engine = open_engine(variant.split("-")[0], folder / "1" / file, {})
        start = 1 if config.max_batch_size else 0
        for given, found in ((config.input, engine.inputs), (config.output, engine.outputs)):
            axes = [[-1 if axis == "batch" else axis for axis in spec.shape][start:] for spec in found]
            assert [(spec.name, list(spec.dims)) for spec in given] == [
                (spec.name, shape) for spec, shape in zip(found, axes, strict=True)
            ]
        engine.close()


def test_openvino_is_not_left_to_choose_a_precision_unasked(bundle: Path, tmp_path: Path) -> None:
    """Triton has no option for fp32: on a processor with bf16, the IR would run in that."""
    opened = open_bundle(bundle)
    with pytest.raises(ConfigError, match="declares fp32 on `CPU`, which Triton's OpenVINO backend cannot be told"):
        write_repository(opened, "openvino-int8", tmp_path)
    folder = write_repository(opened, "openvino-int8", tmp_path, fast=True)
    for file in ("model.xml", "model.bin"):
        assert (folder / "1" / file).read_bytes() == (bundle / "openvino-int8" / file).read_bytes()
    config = config_of(folder)
    assert config.backend == "openvino" and config.max_batch_size == 0 and not config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [-1, 32, 32, 3] and list(config.output[0].dims) == [-1, 3]
    assert {key: value.string_value for key, value in config.parameters.items()} == {"PERFORMANCE_HINT": "LATENCY"}
    assert "what OpenVINO chooses" in (folder / "config.pbtxt").read_text()


def test_options_of_the_variant_reach_triton(bundle: Path, tmp_path: Path) -> None:
    opened = open_bundle(bundle)
    gpu = with_options(opened, "onnxruntime-fp32", options={"provider": "cuda", "threads": 2})
    config = config_of(write_repository(gpu, "onnxruntime-fp32", tmp_path))
    assert config.instance_group[0].kind == KINDS.KIND_GPU and config.max_batch_size == 32
    assert [(key, value.string_value) for key, value in config.parameters.items()] == [("intra_op_thread_count", "2")]
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "cuda" and dict(accelerator.parameters) == {"use_tf32": "0"}
    half = with_options(opened, "openvino-fp32", options={"inference_precision": "bf16", "streams": 2})
    config = config_of(write_repository(half, "openvino-fp32", tmp_path))
    assert {key: value.string_value for key, value in config.parameters.items()} == {
        "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "2", "HINT_BF16": "YES",
    }  # fmt: skip


def test_what_triton_cannot_run_as_declared_is_refused(bundle: Path, tmp_path: Path) -> None:
    opened = open_bundle(bundle)
    graphics = with_options(opened, "openvino-fp32", options={"device": "GPU", "inference_precision": "fast"})
    with pytest.raises(ConfigError, match="cannot be told"):
        write_repository(graphics, "openvino-fp32", tmp_path, fast=True)
    plan = with_options(opened, "onnxruntime-fp32", engine="tensorrt")
    with pytest.raises(ConfigError, match="plan on the GPU"):
        write_repository(plan, "onnxruntime-fp32", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_repository_is_whole_or_absent(own_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "models"
    with pytest.raises(ArtefactError, match="did you mean `onnxruntime-fp32`"):
        write_repository(open_bundle(own_bundle), "onnxruntime-fp23", out)
    with pytest.raises(ConfigError, match="cannot be the name"):
        write_repository(open_bundle(own_bundle), "onnxruntime-fp32", out, name="../elsewhere")
    (own_bundle / "onnxruntime-fp32" / "model.onnx").write_bytes(b"changed")
    with pytest.raises(ArtefactError, match="differs from the manifest"):
        write_repository(open_bundle(own_bundle), "onnxruntime-fp32", out)
    assert not out.exists()


def test_models_stand_side_by_side_and_are_replaced_only_when_asked(bundle: Path, tmp_path: Path) -> None:
    opened = open_bundle(bundle)
    first = write_repository(opened, "onnxruntime-fp32", tmp_path)
    second = write_repository(opened, "onnxruntime-int8", tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([first, second])
    with pytest.raises(ConfigError, match="exists"):
        write_repository(opened, "onnxruntime-fp32", tmp_path)
    (first / "2").mkdir()
    assert write_repository(opened, "onnxruntime-fp32", tmp_path, overwrite=True) == first
    assert not (first / "2").exists() and second.exists()


def test_the_first_variant_that_runs_as_declared_is_chosen(bundle: Path) -> None:
    opened = open_bundle(bundle)
    assert first_servable(opened) == "onnxruntime-fp32"
    assert first_servable(with_options(opened, "onnxruntime-fp32", status="failed")) == "onnxruntime-int8"
    none = opened
    for variant in ("onnxruntime-fp32", "onnxruntime-int8"):
        none = with_options(none, variant, status="failed")
    with pytest.raises(ConfigError, match=r"`onnxruntime-fp32` failed its check.*openvino-int8.*cannot be told"):
        first_servable(none)
