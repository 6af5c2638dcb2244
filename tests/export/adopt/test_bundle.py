"""`edgetl adopt`: the bundle of a file from elsewhere is judged, predicts and refuses as any other."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.conftest import Cli
from tests.export.adopt.files import classifier, detector, photos, said
from tests.export.adopt.test_texts import LABELS as SENTIMENTS
from tests.export.adopt.test_texts import TOML, reviews, text_model, tokeniser

from edgetl.bundle import open_bundle
from edgetl.runtime import load

VARIANTS = "onnxruntime-fp32,openvino-fp32"


def command(folder: Path, task: str, *more: object, variants: str = VARIANTS) -> list[object]:
    return [
        "adopt", folder / "model.onnx", "-o", folder / "bundle", "--task", task, "--labels", folder / "labels.txt",
        "--preprocess", folder / "preprocess.toml", "--golden", folder / "golden", "--variants", variants, *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, what is said of it, its samples and its bundle."""
    from typer.testing import CliRunner

    from edgetl.cli import app

    folder = tmp_path_factory.mktemp("adopted")
    classifier(folder / "model.onnx")
    said(folder, "size = 32\n")
    photos(folder / "golden", 8)
    result = CliRunner().invoke(app, [str(part) for part in command(folder, "image", "--json", variants=VARIANTS)])
    assert result.exit_code == 0, result.stderr
    assert {each["verdict"] for each in json.loads(result.stdout)["variants"]} == {"pass"}
    assert "16 samples of" in result.stderr and "8 of" in result.stderr
    return folder


def test_it_says_where_it_comes_from(adopted: Path) -> None:
    opened = open_bundle(adopted / "bundle")
    opened.verify()
    source = opened.manifest.source
    assert (source.run, source.strategy, source.backbone) == ("adopted", "adopted", "model.onnx")
    assert source.weights.licence == "unknown" and "torch" not in opened.manifest.versions
    assert opened.manifest.golden.samples == 16


def test_it_predicts_and_passes_its_check(adopted: Path, cli: Cli) -> None:
    image = adopted / "golden" / "moss" / "moss0.png"
    with load(adopted / "bundle", variant="openvino-fp32") as model:
        assert model.predict([image])[0].probability > 0
    checked = cli("check", adopted / "bundle", "--json")
    assert checked.exit_code == 0
    assert json.loads(checked.stdout)["verdict"] == "pass"


def test_a_fault_planted_afterwards_is_named(adopted: Path, cli: Cli, tmp_path: Path) -> None:
    own = Path(shutil.copytree(adopted / "bundle", tmp_path / "own"))
    path = own / "onnxruntime-fp32" / "model.onnx"
    model = onnx.load(path)
    kernel = next(tensor for tensor in model.graph.initializer if tensor.dims == [8, 3, 3, 3])
    turned = np.ascontiguousarray(numpy_helper.to_array(kernel)[:, ::-1])  # it reads blue where red was
    kernel.CopyFrom(numpy_helper.from_array(turned, kernel.name))
    onnx.save(model, path)
    relist(own)
    checked = cli("check", own, "--variants", "onnxruntime-fp32", "--json")
    assert checked.exit_code == 7
    causes = [reason["cause"] for each in json.loads(checked.stdout)["variants"] for reason in each["reasons"]]
    assert "red and blue swapped" in causes


def relist(bundle: Path) -> None:
    """The manifest with the files as they are now."""
    import msgspec

    from edgetl.bundle import file_records, write_manifest

    manifest = open_bundle(bundle).manifest
    (bundle / "manifest.json").unlink()
    listed = {record.path for record in manifest.files}
    records = tuple(record for record in file_records(bundle) if record.path in listed)
    write_manifest(bundle, msgspec.structs.replace(manifest, files=records))


def test_a_text_model_becomes_a_bundle(cli: Cli, tmp_path: Path) -> None:
    text_model(tmp_path / "model.onnx")
    tokeniser(tmp_path)
    reviews(tmp_path / "golden.csv")
    said(tmp_path, TOML, SENTIMENTS)
    arguments = [tmp_path / "golden.csv" if part == tmp_path / "golden" else part for part in command(tmp_path, "text")]
    result = cli(*arguments)
    assert result.exit_code == 0, result.stderr
    with load(tmp_path / "bundle") as model:
        found = model.predict(["good film", "dull the plot"])
    assert {each.label for each in found} <= set(SENTIMENTS)
    assert np.isclose(sum(found[0].probabilities), 1, atol=1e-5)


def test_a_detector_becomes_a_bundle(cli: Cli, tmp_path: Path) -> None:
    detector(tmp_path / "model.onnx", layout="yolov8")
    photos(tmp_path / "golden", labelled=False)
    said(tmp_path, 'preset = "yolo"\nsize = 32\n')
    result = cli(*command(tmp_path, "detection", "--layout", "yolov8", "--unlabelled"))
    assert result.exit_code == 0, result.stderr
    assert "the model's own answers count as true" in result.stderr
    with load(tmp_path / "bundle") as model:
        found = model.detect([tmp_path / "golden" / "moss0.png"])[0]
    assert all(0 <= box.box[0] <= box.box[2] <= 40 for box in found.objects) and found.objects


def test_what_cannot_be_adopted_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    said(tmp_path, "size = 32\n")
    photos(tmp_path / "golden")
    result = cli(*command(tmp_path, "image"))
    assert result.exit_code == 4 and "is no ONNX file" in result.stderr
    assert not (tmp_path / "bundle").exists() and not list(tmp_path.glob(".bundle*"))
