"""A detector is rebuilt from its run alone, and its graph answers in both engines as torch does, whatever the batch."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from tests.finetune.detection.models.lively import SIZE, lively

from edgetl.errors import ArtefactError
from edgetl.files import sha256_of
from edgetl.finetune.backbones.weights import save_weights
from edgetl.finetune.detection.models.architectures import task_fields
from edgetl.finetune.detection.models.detector import Detector
from edgetl.finetune.detection.models.graph import RECORD, deploy, open_detector, write_record
from edgetl.finetune.detection.models.options import DetectorOptions
from edgetl.finetune.graph import export_onnx
from edgetl.run import DataRecord, Run, WeightsRecord
from edgetl.tasks import ObjectDetection
from edgetl.tasks.images import ImageInput
from edgetl.tasks.normalisation import normalisation
from edgetl.types import Array, Outputs, Pixels

SLOW = [pytest.param(each, marks=pytest.mark.slow) for each in ("retinanet", "fcos", "faster-rcnn", "rt-detr")]


def task_of(architecture: str) -> ObjectDetection:
    fields = msgspec.structs.asdict(task_fields(architecture))
    spec = ImageInput(height=SIZE[0], width=SIZE[1], resize=max(SIZE), mode="letterbox")
    return ObjectDetection(labels=("bolt", "nut", "washer"), input=spec, **fields)


def pixels(count: int) -> Pixels:
    return np.random.default_rng(count).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)


def answered(model: Detector, task: ObjectDetection, image: Pixels) -> Outputs:
    deployed = deploy(model, task)
    with torch.inference_mode():
        answers = deployed(torch.from_numpy(image))
    return {name: each.numpy() for name, each in zip(deployed.outputs, answers, strict=True)}


def onnxruntime_engine(path: Path) -> Callable[[Pixels], list[Array]]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda image: list(session.run(["boxes", "scores"], {"image": image}))


def openvino_engine(path: Path) -> Callable[[Pixels], list[Array]]:
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: [compiled([image])[name].copy() for name in ("boxes", "scores")]


@pytest.mark.parametrize("architecture", ["ssdlite", *SLOW])
def test_the_graph_answers_as_torch_in_both_engines_for_any_batch(architecture: str, tmp_path: Path) -> None:
    model, task = lively(architecture), task_of(architecture)
    deployed = deploy(model, task)
    export_onnx(deployed, task.inputs, tmp_path / "model.onnx")
    for engine in (onnxruntime_engine, openvino_engine):
        run = engine(tmp_path / "model.onnx")
        for count in (1, 3):
            wanted = answered(model, task, pixels(count))
            boxes, scores = run(pixels(count))
            assert boxes.shape == (count, deployed.rows, 4)
            np.testing.assert_allclose(boxes, wanted["boxes"], atol=1e-3 * max(SIZE))
            np.testing.assert_allclose(scores, wanted["scores"], atol=1e-4)


def test_the_graph_normalises_as_the_task_says_or_as_a_hypothesis_does() -> None:
    model, task = lively("ssdlite"), task_of("ssdlite")
    image = torch.from_numpy(pixels(2))
    plain = normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    by_hand = (image.permute(0, 3, 1, 2) / 255 - torch.tensor(task.mean).view(3, 1, 1)) / torch.tensor(task.std).view(
        3, 1, 1
    )
    with torch.inference_mode():
        right, wrong, wanted = deploy(model, task)(image), deploy(model, task, plain)(image), model.decode(by_hand)
    torch.testing.assert_close(right, wanted, rtol=1e-4, atol=1e-3)
    assert not torch.allclose(right[1], wrong[1], atol=1e-3)


def written(folder: Path, architecture: str, model: Detector) -> Run:
    """What a run has of a detector, and its run.json."""
    save_weights(folder / "weights.safetensors", model, task_of(architecture), "none needed")
    write_record(folder, architecture, "residual_cnn", model)
    files = {name: sha256_of(folder / name) for name in (RECORD, "weights.safetensors")}
    return Run(
        schema="1.0", name="run", strategy="from-scratch", backbone=f"{architecture}:residual_cnn", seed=0, files=files,
        weights=WeightsRecord(origin="random", sha256="", licence="none needed"), metrics={}, headline="val",
        data=DataRecord(root="", fingerprint="", counts={}), compute={}, versions={},
    )  # fmt: skip


@pytest.mark.parametrize("architecture", ["ssdlite", "retinanet", "fcos", "faster-rcnn", SLOW[-1]])
def test_a_run_alone_gives_the_same_detector(architecture: str, tmp_path: Path) -> None:
    options = {
        "retinanet": DetectorOptions(width=64),
        "ssdlite": DetectorOptions(scales=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
    }
    model, task = lively(architecture, options.get(architecture)), task_of(architecture)
    again = open_detector(tmp_path, written(tmp_path, architecture, model), task)
    wanted, found = answered(model, task, pixels(2)), answered(again, task, pixels(2))
    assert not again.training
    assert all(np.array_equal(found[name], wanted[name]) for name in ("boxes", "scores"))


def test_a_run_whose_detector_was_changed_is_refused(tmp_path: Path) -> None:
    run = written(tmp_path, "ssdlite", lively("ssdlite"))
    (tmp_path / RECORD).write_text((tmp_path / RECORD).read_text().replace("0.04", "0.05"))
    with pytest.raises(ArtefactError, match=r"is not what run\.json says"):
        open_detector(tmp_path, run, task_of("ssdlite"))
    (tmp_path / RECORD).unlink()
    with pytest.raises(ArtefactError, match="is missing"):
        open_detector(tmp_path, run, task_of("ssdlite"))


def test_weights_of_another_detector_are_refused(tmp_path: Path) -> None:
    run = written(tmp_path, "ssdlite", lively("ssdlite"))
    save_weights(tmp_path / "weights.safetensors", lively("fcos"), task_of("ssdlite"), "none needed")
    with pytest.raises(ArtefactError, match="do not fit the detector"):
        open_detector(tmp_path, run, task_of("ssdlite"))
