"""A bundle answers like torch, on any batch, and is written whole or not at all."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.conftest import Cli
from tests.export.models import model_of, task_of

from edgetl.bundle import open_bundle
from edgetl.export.config import DEFAULT_VARIANTS
from edgetl.export.golden import stratified, synthetic_golden
from edgetl.export.source import open_source
from edgetl.files import sha256_of
from edgetl.finetune.graph import torch_predictor
from edgetl.run import SampleRecord
from edgetl.runtime import load
from edgetl.runtime.engines import open_engine


@pytest.mark.parametrize("variant", ["onnxruntime-fp32", "openvino-fp32"])
@pytest.mark.parametrize("batch", [1, 3, 17])
def test_logits_are_torchs_for_any_batch(bundle: Path, run: Path, variant: str, batch: int) -> None:
    source = open_source(run, None)
    pixels = np.random.default_rng(batch).integers(0, 256, (batch, 32, 32, 3), dtype=np.uint8)
    with load(bundle, variant=variant) as session:
        outputs = session.infer({"image": pixels})
    assert np.allclose(outputs["logits"], torch_predictor(model_of(source), task_of(source))(pixels), atol=1e-4)
    assert np.allclose(outputs["probabilities"].sum(1), 1, atol=1e-5)


def test_the_graph_is_as_promised(bundle: Path) -> None:
    model = onnx.load(bundle / "onnxruntime-fp32" / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    (image,) = model.graph.input
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim] == ["batch", 32, 32, 3]
    assert [output.name for output in model.graph.output] == ["logits", "probabilities"]


def test_int8_weights_have_a_scale_for_each_channel(bundle: Path) -> None:
    model = onnx.load(bundle / "onnxruntime-int8" / "model.onnx")
    scales = [i for i in model.graph.initializer if i.name.endswith("weight_scale")]
    assert scales and all(len(onnx.numpy_helper.to_array(scale).shape) == 1 for scale in scales)


def test_every_variant_was_judged_and_says_so(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    assert tuple(variant.id for variant in manifest.variants) == DEFAULT_VARIANTS
    for variant in manifest.variants:
        assert variant.status == "verified" and variant.verdict in ("pass", "undecided")
        assert variant.task_result is not None and variant.task_result.samples == 90
        assert variant.golden is not None and len(open_bundle(bundle).arrays(variant.golden)["logits"]) == 90
    assert manifest.golden.kind == "validation" and len(manifest.golden.encoded) == 32
    assert (bundle / "labels.txt").read_text().split() == ["amber", "moss", "slate"]


def test_the_report_is_one_file_with_a_plot(bundle: Path) -> None:
    page = (bundle / "report.html").read_text()
    assert "<svg" in page and "<script" not in page and "openvino-int8" in page


def test_variants_can_be_chosen_and_a_typo_is_suggested(run: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("export", run, "-o", tmp_path / "one", "--variants", "openvino-fp32", "--golden", "none", "--json")
    assert [variant["id"] for variant in json.loads(result.stdout)["variants"]] == ["openvino-fp32"]
    wrong = cli("export", run, "-o", tmp_path / "two", "--variants", "openvino-in8")
    assert wrong.exit_code == 2 and "did you mean `openvino-int8`" in wrong.stderr
    assert not (tmp_path / "two").exists()


def test_a_run_whose_images_changed_is_refused(own_run: Path, tmp_path: Path, cli: Cli) -> None:
    samples = json.loads((own_run / "samples.json").read_text())
    val = next(sample for sample in samples if sample[2] == "val")
    val[3] = "0" * 64
    (own_run / "samples.json").write_text(json.dumps(samples))
    record = json.loads((own_run / "run.json").read_text())
    record["files"]["samples.json"] = sha256_of(own_run / "samples.json")
    (own_run / "run.json").write_text(json.dumps(record))
    result = cli("export", own_run, "-o", tmp_path / "b")
    assert result.exit_code == 5 and "changed since the run" in result.stderr


def test_an_edited_run_is_refused(own_run: Path, tmp_path: Path, cli: Cli) -> None:
    task = (own_run / "task.json").read_text()
    (own_run / "task.json").write_text(task.replace("amber", "umber"))
    result = cli("export", own_run, "-o", tmp_path / "b")
    assert result.exit_code == 4 and "is not what run.json says" in result.stderr


@pytest.mark.parametrize("file", ["run.json", "task.json", "samples.json", "weights.safetensors"])
def test_a_damaged_run_is_refused(own_run: Path, tmp_path: Path, cli: Cli, file: str) -> None:
    (own_run / file).write_bytes((own_run / file).read_bytes()[:-20])
    result = cli("export", own_run, "-o", tmp_path / "b")
    assert result.exit_code == 4 and file in result.stderr
    assert list(tmp_path.iterdir()) == [own_run]


def test_stratified_takes_turns_through_the_classes() -> None:
    samples = [SampleRecord(path=f"{i}", label=int(i >= 90), split="val", sha256="") for i in range(100)]
    chosen = stratified(samples, 20, seed=0)
    assert sum(sample.label for sample in chosen) == 10
    assert chosen == stratified(samples, 20, seed=0) != stratified(samples, 20, seed=1)


def test_synthetic_samples_are_varied(run: Path) -> None:
    golden = synthetic_golden(open_source(run, None), seed=0)
    assert golden.truths is None and golden.inputs.feeds["image"].std(axis=(1, 2, 3)).min() > 10
    assert len({content for _, content in golden.encoded}) == len(golden.encoded)


@pytest.mark.slow
def test_the_real_main_job(real_data: Path, tmp_path: Path, cli: Cli) -> None:
    """hymenoptera with real weights: at least 96 % (0.65 points an image), and no clean variant fails."""
    weights = real_data / "weights" / "mobilenet_v2-imagenet.safetensors"
    trained = cli("finetune", real_data / "data" / "hymenoptera", "--weights", weights, "-o", tmp_path / "r", "--json")
    assert trained.exit_code == 0, trained.stderr
    assert json.loads(trained.stdout)["metrics"]["top1"] >= 0.96
    exported = cli("export", tmp_path / "r", "-o", tmp_path / "b", "--json")
    assert {variant["status"] for variant in json.loads(exported.stdout)["variants"]} == {"verified"}
    checked = cli("check", tmp_path / "b", "--json")
    assert checked.exit_code == 0 and json.loads(checked.stdout)["verdict"] in ("pass", "undecided")


def test_engines_open_only_what_they_know(tmp_path: Path) -> None:
    from edgetl.errors import ConfigError, EngineError

    (tmp_path / "m.onnx").write_bytes(b"no model")
    for engine in ("onnxruntime", "openvino"):
        with pytest.raises(EngineError):
            open_engine(engine, tmp_path / "m.onnx", {})
        with pytest.raises(ConfigError, match="thread"):
            open_engine(engine, tmp_path / "m.onnx", {"thread": 2})
    with pytest.raises(ConfigError, match="unknown engine"):
        open_engine("onnxrutime", tmp_path / "m.onnx", {})
