"""A graph of edgetl's own, stripped of its normalisation and adopted back, answers as torch did."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from tests.export.adopt.files import said

from edgetl.bundle import open_bundle
from edgetl.export.adopt.config import AdoptConfig
from edgetl.export.adopt.source import open_adopted
from edgetl.tasks import ImageClassification


def test_the_reference_answers_of_the_bundle_come_back(bundle: Path, dataset: Path, tmp_path: Path) -> None:
    opened = open_bundle(bundle)
    task, golden = opened.manifest.task, opened.golden()
    assert isinstance(task, ImageClassification)
    graph = onnx.load(opened.open_variant(opened.variant("onnxruntime-fp32")))
    shifted = next(node for node in graph.graph.node if "shift" in node.input).output[0]
    onnx.save(onnx.utils.Extractor(graph).extract_model([shifted], ["logits"]), tmp_path / "stripped.onnx")
    spec = task.input
    text = (
        f"size = [{spec.height}, {spec.width}]\nresize = {spec.resize}\nmode = '{spec.mode}'\n"
        f"interpolation = '{spec.interpolation}'\nmean = {list(task.mean)}\nstd = {list(task.std)}\n"
    )
    config = AdoptConfig(task="image", golden=str(dataset / "val"), **said(tmp_path, text, task.labels))
    source = open_adopted(tmp_path / "stripped.onnx", config)
    source.network.write(tmp_path / "adopted.onnx", 20)
    found = ort.InferenceSession(tmp_path / "adopted.onnx").run(["logits"], {"image": golden["image"]})[0]
    assert np.allclose(found, golden["logits"], atol=1e-4)
    assert isinstance(source.task, ImageClassification) and source.task.input == spec
    assert np.allclose(source.task.mean, task.mean) and np.allclose(source.task.std, task.std)
    faults = source.network.under()
    for name, expected in golden.items():
        if name.startswith("logits under "):
            wrong = faults[name.removeprefix("logits under ")]({"image": golden["image"][: len(expected)]})["logits"]
            assert np.allclose(wrong, expected, atol=1e-3 * max(1.0, float(np.abs(expected).max())))
