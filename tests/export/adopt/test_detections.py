"""Detectors from elsewhere, in every layout that is documented, become `boxes` in pixels of the input and `scores`.

What they must answer is computed here from the untouched file's own outputs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from tests.export.adopt.files import LABELS, SIDE, constants, detector, model_of, photos, said

from edgetl.errors import ArtefactError, ConfigError
from edgetl.export.adopt.config import AdoptConfig
from edgetl.export.adopt.layouts import LAYOUTS
from edgetl.export.adopt.source import open_adopted
from edgetl.export.source import Source
from edgetl.tasks import ObjectDetection
from edgetl.tasks.images import ImageInput, prepare
from edgetl.types import Array

YOLO = f'preset = "yolo"\nsize = {SIDE}\n'
Outs = dict[str, Array]


def adopted(path: Path, layout: str | None, labels: tuple[str, ...] = LABELS, **more: Any) -> Source:
    golden = path.parent / "photos"
    if not golden.is_dir():
        photos(golden, labelled=False)
    values = {**said(path.parent, YOLO, labels), "golden": str(golden), "unlabelled": True, "layout": layout, **more}
    return open_adopted(path, AdoptConfig(task="detection", **values))


def pixels(folder: Path) -> Array:
    spec = ImageInput(height=SIDE, width=SIDE, resize=SIDE, mode="letterbox")
    return np.stack([prepare(path, spec) for path in sorted((folder / "photos").glob("*.png"))])


def theirs(path: Path, images: Array) -> Outs:
    """The untouched file's outputs, photo by photo."""
    session = ort.InferenceSession(path)
    names = [value.name for value in session.get_outputs()]
    inputs = np.ascontiguousarray((images / 255).transpose(0, 3, 1, 2), np.float32)
    rows = [session.run(None, {"images": each[None]}) for each in inputs]
    return {name: np.concatenate([row[i] for row in rows]) for i, name in enumerate(names)}


def corners(boxes: Array) -> Array:
    x, y, width, height = (boxes[..., i] for i in range(4))
    return np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=-1)


def sigmoid(values: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-values)))


def one_hot(rows: Array) -> Array:
    scores = np.zeros((*rows.shape[:2], 3), np.float32)
    for place in np.ndindex(*rows.shape[:2]):
        scores[(*place, int(rows[(*place, 5)]))] = rows[(*place, 4)]
    return scores


def softmax(values: Array) -> Array:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


EXPECTED: dict[str, Callable[[Outs], tuple[Array, Array]]] = {
    "yolov8": lambda out: (corners(out["output0"][:, :4].swapaxes(1, 2)), out["output0"][:, 4:].swapaxes(1, 2)),
    "yolov5": lambda out: (corners(out["output0"][..., :4]), out["output0"][..., 4:5] * out["output0"][..., 5:]),
    "yolov10": lambda out: (out["output0"][..., :4], one_hot(out["output0"])),
    "end2end": lambda out: (out["output0"][..., :4], one_hot(out["output0"])),
    "detr": lambda out: (corners(out["pred_boxes"]) * SIDE, sigmoid(out["logits"])),
    "detr-softmax": lambda out: (corners(out["pred_boxes"]) * SIDE, softmax(out["logits"])[..., :3]),
    "boxes-scores": lambda out: (out["out_boxes"], out["out_scores"]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_boxes_and_scores(layout: str, tmp_path: Path) -> None:
    path = detector(tmp_path / "model.onnx", layout="end2end" if layout == "yolov10" else layout)
    source, images = adopted(path, layout), pixels(tmp_path)
    source.network.write(tmp_path / "written.onnx", 20)
    session = ort.InferenceSession(tmp_path / "written.onnx")
    boxes, scores = session.run(["boxes", "scores"], {"image": images})
    wanted = EXPECTED[layout](theirs(path, images))
    assert boxes.shape == (18, 16, 4) and scores.shape == (18, 16, 3)
    assert np.allclose(boxes, wanted[0], atol=1e-3) and np.allclose(scores, wanted[1], atol=1e-5)
    answered = source.network.answer({"image": images[:2]})
    assert np.allclose(answered["boxes"], wanted[0][:2], atol=1e-3)
    assert source.task.misfit(source.task.inputs, source.network.outputs) is None


def test_a_layout_that_says_objects_once_suppresses_none(tmp_path: Path) -> None:
    once = adopted(detector(tmp_path / "once.onnx", layout="end2end"), "end2end").task
    often = adopted(detector(tmp_path / "often.onnx", layout="yolov8"), "yolov8", iou=0.45, score=0.2).task
    assert isinstance(once, ObjectDetection) and isinstance(often, ObjectDetection)
    assert once.iou_threshold is None and not once.ordered
    assert (often.iou_threshold, often.score_threshold, often.ordered) == (0.45, 0.2, True)


def test_without_a_layout_the_known_ones_are_listed(tmp_path: Path) -> None:
    path = detector(tmp_path / "model.onnx", layout="yolov8")
    with pytest.raises(ConfigError) as caught:
        adopted(path, None)
    assert all(f"`{name}`" in str(caught.value) for name in LAYOUTS)
    with pytest.raises(ConfigError, match="did you mean `yolov8`"):
        adopted(path, "yolo8")


def test_another_layout_than_the_files_is_refused_with_the_one_that_fits(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no output .* can be `yolov5` .* `output0` \(1 × 7 × 16\)") as caught:
        adopted(detector(tmp_path / "model.onnx", layout="yolov8"), "yolov5")
    assert "`--layout yolov8` fits" in str(caught.value)


def test_a_label_too_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="with 4 labels"):
        adopted(detector(tmp_path / "model.onnx", layout="yolov8"), "yolov8", ("a", "b", "c", "d"))


def test_centre_and_size_taken_for_corners_are_noticed(tmp_path: Path) -> None:
    """The outputs of `detr`, whose shapes are those of two plain outputs: logits are no scores."""
    path = detector(tmp_path / "model.onnx", layout="detr")
    with pytest.raises(ConfigError, match="not between 0 and 1"):
        adopted(path, "boxes-scores")


def written_boxes(path: Path, box: list[float]) -> Path:
    """A file in the layout `boxes-scores` that answers every photo with this box, surely; a convolution adds 0."""
    weights = constants(
        kernel=np.zeros((4, 3, SIDE, SIDE), np.float32), rows=np.array([1, 1, 4], np.int64),
        box=np.array([[box]], np.float32), sure=np.array([[[0.9, 0.1, 0.0]]], np.float32),
    )  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "rows"], ["row"]),
        helper.make_node("Add", ["row", "box"], ["out_boxes"]),
        helper.make_node("ReduceSum", ["row"], ["zero"], keepdims=1),
        helper.make_node("Add", ["sure", "zero"], ["out_scores"]),
    ]
    outputs = {"out_boxes": (1, 1, 4), "out_scores": (1, 1, 3)}
    onnx.save(model_of(nodes, weights, {"images": (int(TensorProto.FLOAT), (1, 3, SIDE, SIDE))}, outputs), path)
    return path


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ([20, 20, 8, 8], "end before they begin"),
        ([0.2, 0.2, 0.8, 0.9], "these are fractions"),
        ([300, 300, 600, 600], "is another layout, or `size` is not the model's"),
    ],
)
def test_boxes_that_cannot_be_are_refused(box: list[float], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        adopted(written_boxes(tmp_path / "model.onnx", box), "boxes-scores")
    assert words in str(caught.value)


def test_a_varying_number_of_boxes_is_refused(tmp_path: Path) -> None:
    """A file that suppresses boxes itself and answers with those that are left."""
    path = detector(tmp_path / "model.onnx", layout="yolov8")
    model = onnx.load(path)
    graph = model.graph
    graph.initializer.extend(constants(
        most=np.array(16, np.int64), overlap=np.array(0.5, np.float32), least=np.array(0.6, np.float32),
        rows2=np.array([1, 16, 7], np.int64), third=np.array(2, np.int64),
    ))  # fmt: skip
    graph.node.extend([
        helper.make_node("Transpose", ["boxes"], ["b"], perm=[0, 2, 1]),
        helper.make_node("NonMaxSuppression", ["b", "scores", "most", "overlap", "least"], ["kept"]),
        helper.make_node("Gather", ["kept", "third"], ["which"], axis=1),
        helper.make_node("Gather", ["output0", "which"], ["left"], axis=2),
    ])  # fmt: skip
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("left", TensorProto.FLOAT, (1, 7, "found")))
    onnx.save(model, path)
    with pytest.raises(ArtefactError, match="another number of rows for each photo"):
        adopted(path, "yolov8")


def test_what_nobody_labelled_is_judged_by_the_models_own_boxes(tmp_path: Path) -> None:
    source = adopted(detector(tmp_path / "model.onnx", layout="yolov8"), "yolov8")
    assert source.origin.strategy == "adopted, judged by its own answers"
    record = source.split("val")[0]
    sample = source.labelled(record)
    assert sample.objects is not None and isinstance(sample.sample, Path)
    prepared = source.preparation([sample.sample])
    assert isinstance(source.task, ObjectDetection)
    answered = source.task.found(source.network.answer(prepared.feeds), threshold=0.3)[0]
    assert len(sample.objects.boxes) == len(answered.boxes) > 0
    assert np.array_equal(sample.objects.classes, answered.classes)
    width, height = prepared.sizes[0]
    assert sample.objects.boxes[:, 2].max() <= width and sample.objects.boxes[:, 3].max() <= height
