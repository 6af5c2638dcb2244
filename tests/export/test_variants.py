"""What export makes on request: other precisions, features, a Triton repository, a plan; and the same bytes again."""

import filecmp
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Cli, write_dataset

from edgetl.bundle import open_bundle
from edgetl.devices.answers import validation_answers
from edgetl.export.config import ExportConfig
from edgetl.export.stage import export
from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.stage import finetune
from edgetl.machine import Machine, detect
from edgetl.runtime import load
from edgetl.runtime.precision import lacking_kernels

HALF = ("onnxruntime-fp16", "onnxruntime-w8", "openvino-w8", "tensorrt-fp32", "tensorrt-fp16")


@pytest.fixture(scope="module")
def special(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("special") / "b"
    export(run, folder, ExportConfig(variants=HALF, calibration_samples=8))
    return folder


@pytest.mark.parametrize("variant", HALF)
def test_a_variant_is_verified_or_says_why_only_its_numbers_are(special: Path, variant: str) -> None:
    record = open_bundle(special).variant(variant)
    assert record.task_result is not None and record.task_result.samples == 90
    if variant in ("onnxruntime-w8", "openvino-w8"):
        assert record.status == "verified" and record.facts is not None and set(record.facts.layers) == {"fp32"}
    elif not (record.engine == "onnxruntime" and "fp16" in detect().features):
        assert record.status == "unverified" and "ONNX Runtime gets the right numbers" in record.reason


def test_weights_alone_are_a_fraction_of_the_size(special: Path, bundle: Path) -> None:
    opened, plain = open_bundle(special), open_bundle(bundle)
    small = opened.size_bytes(opened.variant("onnxruntime-w8"))
    assert small < 0.4 * plain.size_bytes(plain.variant("onnxruntime-fp32"))


def test_bf16_is_declared_and_read_back(run: Path, tmp_path: Path) -> None:
    if not {"avx512-bf16", "amx-bf16", "bf16"} & set(detect().features):
        pytest.skip("this processor has no bf16 arithmetic")
    export(run, tmp_path / "b", ExportConfig(variants=("openvino-bf16",)))
    with load(tmp_path / "b") as session:
        assert set(session.facts.layers) == {"bf16"}


@pytest.mark.parametrize(
    ("engine", "precision", "options", "features", "runs"),
    [
        ("onnxruntime", "fp16", {}, (), False),
        ("onnxruntime", "fp16", {"provider": "cuda"}, (), True),
        ("onnxruntime", "fp16", {}, ("neon", "fp16"), True),
        ("openvino", "fp16", {}, ("avx512-bf16",), False),
        ("openvino", "fp16", {"device": "GPU"}, (), True),
        ("openvino", "bf16", {}, ("avx512-bf16",), True),
        ("openvino", "int8", {}, (), True),
    ],
)
def test_who_has_kernels_for_half_precision(
    engine: str, precision: str, options: dict[str, str], features: tuple[str, ...], runs: bool
) -> None:
    machine = Machine(
        system="Linux", arch="", cpu="", features=features, cores=1, memory_bytes=0, board="", gpus=()
    )  # fmt: skip
    assert (lacking_kernels(engine, precision, options, machine) is None) == runs  # type: ignore[arg-type]


def test_features_triton_and_opset_on_request(run: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "stripes"
    options = ("--variants", "onnxruntime-fp32", "--embedding", "--opset", "18", "--also", "triton")
    result = cli("export", run, "-o", out, *options, "--json")
    assert result.exit_code == 0, result.stderr
    with load(out) as session:
        outputs = session.infer({"image": np.zeros((2, 32, 32, 3), np.uint8)})
    assert outputs["embedding"].shape == (2, 80)
    assert open_bundle(out).manifest.source.options["opset"] == 18
    assert (tmp_path / "stripes-triton" / "stripes" / "config.pbtxt").is_file()
    wrong = cli("export", run, "-o", tmp_path / "b", "--opset", "7")
    assert wrong.exit_code == 2 and "`7`" in wrong.stderr


def test_groups_of_the_samples_travel(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", {"train": 8, "val": 8})
    rows = []
    for path in sorted(data.rglob("*.png")):
        label, split = path.parent.name, path.parent.parent.name
        rows.append(f"{path.relative_to(data)},{label},{split},{split} {path.stem}")
    table = data / "table.csv"
    table.write_text("\n".join(["path,label,split,group", *rows]) + "\n")
    config = FinetuneConfig(data=str(table), backbone="residual_cnn", strategy="from-scratch", loop={"epochs": 1})
    finetune(config, tmp_path / "run")
    export(tmp_path / "run", tmp_path / "b", ExportConfig(variants=("onnxruntime-fp32",), calibration_samples=4))
    bundle = open_bundle(tmp_path / "b")
    answers = validation_answers(bundle, bundle.manifest.variants[0])
    assert answers is not None and answers.groups is not None
    assert sorted(set(answers.groups.tolist())) == [f"val {i:02}" for i in range(8)]


@pytest.mark.slow
def test_two_exports_are_the_same_bytes(run: Path, tmp_path: Path) -> None:
    """Manifest and report included; in two processes, whose hashes of strings differ."""
    for name in ("a", "b"):
        command = [sys.executable, "-m", "edgetl", "export", str(run), "-o", str(tmp_path / name / "bundle")]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    left, right = tmp_path / "a" / "bundle", tmp_path / "b" / "bundle"
    files = sorted(path.relative_to(left) for path in left.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(right) for path in right.rglob("*") if path.is_file())
    _, different, errors = filecmp.cmpfiles(left, right, [str(file) for file in files], shallow=False)
    assert errors == [] and set(different) <= {"report.html"}  # which names the folder
    pages = [(folder / "report.html").read_text().replace(str(folder), "") for folder in (left, right)]
    assert pages[0] == pages[1]


@pytest.mark.slow
def test_export_then_tune(run: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("export", run, "-o", tmp_path / "b", "--variants", "onnxruntime-fp32", "--tune", "--json")
    assert result.exit_code == 0, result.stderr
    printed = json.loads(result.stdout)
    assert printed["variants"][0]["id"] == printed["tune"]["plan"]["variant"] == "onnxruntime-fp32"
    assert (tmp_path / "b" / "plans" / "host.json").is_file()
