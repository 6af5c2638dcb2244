"""A detector's bundle through the whole check, with real engines; and the same with a fault in its graph."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tests.task_bundles import PHOTO, SIDE, detection_bundle

from edgetl.bundle import file_records, open_bundle, write_manifest
from edgetl.devices.catalogue import host_profile
from edgetl.devices.check import check
from edgetl.devices.verdict import Report
from edgetl.types import Array

BARS = SIDE * (1 - PHOTO[1] / PHOTO[0]) / 2
"""Above and below the photo."""


def checked(folder: Path, variants: list[str] | None = None) -> Report:
    return check(open_bundle(folder), host_profile(), variants=variants, latency=None)


def behind(graph: onnx.GraphProto, output: str, operator: str, constant: Array) -> None:
    """An operation with a constant between what makes an output and the output."""
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = ["before" if each == output else each for each in names]
    graph.initializer.append(numpy_helper.from_array(constant.astype(np.float32), "constant"))
    graph.node.append(helper.make_node(operator, ["before", "constant"], [output]))


def planted(folder: Path, plant: Callable[[onnx.GraphProto], None]) -> Report:
    """The verdict on a bundle whose ONNX graph was changed, with the hashes renewed."""
    detection_bundle(folder)
    path = folder / "onnxruntime-fp32" / "model.onnx"
    model = onnx.load(path)
    plant(model.graph)
    onnx.save(model, path)
    manifest = open_bundle(folder).manifest
    (folder / "manifest.json").unlink()
    write_manifest(folder, msgspec.structs.replace(manifest, files=file_records(folder)))
    return checked(folder, ["onnxruntime-fp32"])


def test_a_right_detector_passes_with_both_engines(tmp_path: Path) -> None:
    report = checked(detection_bundle(tmp_path / "right"))
    assert (report.verdict, {each.verdict for each in report.variants}) == ("pass", {"pass"})
    for each in report.variants:
        assert each.agreement == 1 and each.metric is not None and (each.metric.name, each.metric.value) == ("map50", 1)
        assert {part.name for part in each.classes} == {"red", "green", "blue"}


SIZES = np.eye(4)
SIZES[[0, 1], [2, 3]] = -1

FAULTS: dict[str, tuple[str, str, Array, str]] = {
    "xywh": ("boxes", "MatMul", SIZES, "left, top, width, height"),
    "moved": ("boxes", "Sub", np.array([8, 0, 8, 0]), "boxes are moved by -8.0, +0.0 pixels"),
    "bars": ("boxes", "Sub", np.array([0, BARS, 0, BARS]), "the letterbox's offset is missing"),
    "0–1": ("boxes", "Div", np.array(SIDE), "boxes are 0–1 instead of pixels"),
    "shifted": ("scores", "MatMul", np.roll(np.eye(3), 1, axis=1), "labels are shifted up by one"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_fails_and_is_named(name: str, tmp_path: Path) -> None:
    output, operator, constant, said = FAULTS[name]
    (variant,) = planted(tmp_path / "planted", lambda graph: behind(graph, output, operator, constant)).variants
    causes = [str(each.cause) for each in variant.reasons if each.layer == "numerics" and each.verdict == "fail"]
    assert variant.verdict == "fail" and any(said in cause for cause in causes), causes
