"""A bundle is whole and untouched, or it is refused with the name of what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import Cli

from edgetl.bundle import open_bundle, read_arrays
from edgetl.errors import ArtefactError
from edgetl.export.planted.planting import rehash
from edgetl.runtime import load


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_everything_in_the_folder_is_listed_but_reports_and_measurements(bundle: Path) -> None:
    listed = {record.path for record in open_bundle(bundle).manifest.files}
    present = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert present - listed <= {"manifest.json", "report.html", "measurements.json"}
    assert listed <= present
    for relative in listed:
        open_bundle(bundle).file(relative)


def test_unknown_keys_of_a_later_minor_are_ignored(own_bundle: Path) -> None:
    edit(own_bundle, lambda m: m.update(schema="1.9", novelty={"a": 1}))
    assert open_bundle(own_bundle).manifest.schema == "1.9"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema="2.0"), "reads up to"),
        (lambda m: m.pop("task"), "task"),
        (lambda m: m["task"].update(labels="ants"), "cannot be read"),
        (lambda m: m["files"][0].update(path="../../etc/passwd"), "leaves"),
        (lambda m: m["files"][0].update(path="/etc/passwd"), "leaves"),
        (lambda m: m["variants"][0].update(files=[]), "names no listed file"),
        (lambda m: m["variants"][0].update(files=["../x"]), "names no listed file"),
        (lambda m: m["variants"][0].update(precision="int7"), "cannot be read"),
        (lambda m: m["task"].update(labels=["amber", "moss"]), "2 labels for outputs of another size"),
        (lambda m: m.update(outputs=[]), "outputs of another size"),
        (lambda m: m.update(inputs=[]), "the input tensor is not the task's"),
        (lambda m: m["task"]["input"].update(height=31), "the input tensor is not the task's"),
        (lambda m: m.update(variants=[]), "there must be variants"),
        (lambda m: m["variants"][0]["task_result"].update(lost=99999), "impossible counts"),
        (lambda m: m["golden"].update(samples=3), "more encoded golden images"),
    ],
)
def test_an_edited_manifest_is_refused(
    own_bundle: Path, cli: Cli, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(own_bundle, change)
    with pytest.raises(ArtefactError, match=message):
        open_bundle(own_bundle)
    for command in (["check"], ["bench"], ["inspect"]):
        assert cli(*command, own_bundle).exit_code == 4


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "link"])
@pytest.mark.parametrize("file", ["onnxruntime-fp32/model.onnx", "openvino-int8/model.bin", "golden/samples.npz"])
def test_a_changed_file_is_named(own_bundle: Path, cli: Cli, tmp_path: Path, file: str, damage: str) -> None:
    path = own_bundle / file
    content = path.read_bytes()
    if damage == "truncate":
        path.write_bytes(content[:-7])
    elif damage == "flip":
        path.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])
    else:
        path.unlink()
    if damage == "link":
        (tmp_path / "outside").write_bytes(content)
        path.symlink_to(tmp_path / "outside")
        with pytest.raises(ArtefactError, match="leaves"):
            open_bundle(own_bundle)
    result = cli("check", own_bundle)
    assert result.exit_code == 4
    assert file in result.stderr and "Traceback" not in result.stderr


def test_labels_that_were_exchanged_in_the_manifest_are_noticed(own_bundle: Path, cli: Cli) -> None:
    edit(own_bundle, lambda m: m["task"].update(labels=["moss", "amber", "slate"]))
    result = cli("check", own_bundle)
    assert result.exit_code == 4 and "name other labels" in result.stderr


@pytest.mark.parametrize("change", ["no image", "no logits", "fewer", "other size"])
def test_a_golden_set_of_another_shape_is_refused(own_bundle: Path, cli: Cli, change: str) -> None:
    path = own_bundle / "golden" / "samples.npz"
    arrays = dict(np.load(path))
    if change.startswith("no "):
        del arrays[change.removeprefix("no ")]
    elif change == "fewer":
        arrays["logits"] = arrays["logits"][:-1]
    else:
        arrays["image"] = arrays["image"][:, :-1]
    np.savez_compressed(path, **arrays)
    rehash(own_bundle)
    result = cli("check", own_bundle)
    assert result.exit_code == 4 and "golden set" in result.stderr


def test_an_unknown_option_in_the_manifest_is_the_bundles_fault(own_bundle: Path, cli: Cli) -> None:
    edit(own_bundle, lambda m: m["variants"][0].update(options={"thread": 2}))
    result = cli("predict", own_bundle, own_bundle / "golden" / "samples" / "0000.png", "--variant", "onnxruntime-fp32")
    assert result.exit_code == 4 and "thread" in result.stderr


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path, cli: Cli) -> None:
    assert cli("check", tmp_path / "nowhere").exit_code == 4
    assert "is no bundle" in cli("check", tmp_path).stderr


def test_a_model_without_the_promised_tensors_is_refused(own_bundle: Path) -> None:
    edit(own_bundle, lambda m: m["outputs"].append({"name": "embedding", "dtype": "float32", "shape": ["batch", 80]}))
    with pytest.raises(ArtefactError, match="embedding"):
        load(own_bundle, variant="openvino-fp32")


def test_pickled_arrays_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", logits=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ArtefactError):
        read_arrays(tmp_path / "evil.npz")


def test_arrays_that_unpack_to_too_much_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "big.npz", image=np.zeros(1_000_000, np.uint8))
    with pytest.raises(ArtefactError, match="larger than"):
        read_arrays(tmp_path / "big.npz", limit=100_000)
