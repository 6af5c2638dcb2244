"""From boxes and scores to objects: greedy suppression as ONNX's operator does it, places in the photo and back."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgetl.tasks.detections import (
    Found,
    as_array,
    found,
    in_input,
    in_photo,
    intersections,
    overlaps,
    own_overlaps,
    packed,
    suppressed,
    unpacked,
)
from edgetl.tasks.images import ImageInput
from edgetl.types import Array


def drawn(seed: int, rows: int, labels: int, *, coarse: bool) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 60, (rows, 2)), rng.uniform(2, 40, (rows, 2))
    boxes = np.hstack([corner, corner + size])
    if coarse:  # overlaps then meet the threshold exactly
        boxes = np.round(boxes / 8) * 8
    return boxes.astype(np.float32), rng.random((rows, labels)).astype(np.float32)


@pytest.fixture(scope="module")
def operator() -> onnxruntime.InferenceSession:
    """ONNX's NonMaxSuppression alone: the thresholds are inputs."""
    inputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, "rows", 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, "labels", "rows"]),
        helper.make_tensor_value_info("most", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("iou", TensorProto.FLOAT, [1]),
        helper.make_tensor_value_info("least", TensorProto.FLOAT, [1]),
    ]
    node = helper.make_node("NonMaxSuppression", [each.name for each in inputs], ["chosen"])
    output = helper.make_tensor_value_info("chosen", TensorProto.INT64, ["found", 3])
    graph = helper.make_graph([node], "suppression", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 60),
    labels=st.integers(1, 4),
    iou=st.sampled_from([0.3, 0.5, 0.65]),
    coarse=st.booleans(),
)
def test_the_same_objects_as_the_operator_finds(
    operator: onnxruntime.InferenceSession, seed: int, rows: int, labels: int, iou: float, coarse: bool
) -> None:
    boxes, scores = drawn(seed, rows, labels, coarse=coarse)
    feeds = {
        "boxes": boxes[None],
        "scores": scores.T[None],
        "most": np.array([1000]),
        "iou": np.array([iou], np.float32),
        "least": np.array([0.25], np.float32),
    }
    (chosen,) = operator.run(None, feeds)
    mine = found(boxes, scores, threshold=0.25, iou=iou, most=1000)
    theirs = {(int(label), boxes[row].tobytes(), float(scores[row, label])) for _, label, row in chosen}
    assert len(mine.scores) == len(chosen)
    assert theirs == {
        (int(label), box.tobytes(), float(score))
        for label, box, score in zip(mine.classes, mine.boxes, mine.scores, strict=True)
    }
    assert (np.diff(mine.scores) <= 0).all()


def test_a_chain_of_boxes_keeps_every_second() -> None:
    """The second is suppressed by the first, so it suppresses nothing itself."""
    chain = np.array([[i * 4, 0, i * 4 + 10, 10] for i in range(4)], float)
    assert suppressed(chain, 0.4, 100).tolist() == [0, 2]
    assert suppressed(chain, 0.5, 100).tolist() == [0, 1, 2, 3]


def test_a_model_that_repeats_nothing_is_left_alone() -> None:
    boxes, scores = np.tile(np.array([[0.0, 0, 9, 9]]), (3, 1)), np.array([[0.9], [0.8], [0.1]])
    assert found(boxes, scores, threshold=0.3, iou=None, most=10).scores.tolist() == [0.9, 0.8]
    assert found(boxes, scores, threshold=0.3, iou=0.5, most=10).scores.tolist() == [0.9]
    assert found(boxes, scores, threshold=0.3, iou=None, most=1).scores.tolist() == [0.9]


def test_overlaps_of_empty_and_inside_out_boxes_are_nothing() -> None:
    boxes = np.array([[0.0, 0, 4, 4], [2, 2, 2, 2], [5, 5, 1, 1]])
    each = overlaps(boxes, boxes)
    assert each.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert own_overlaps(boxes, boxes).tolist() == [1, 0, 0]
    assert intersections(boxes[:1], np.array([[2.0, 3, 9, 9]])).tolist() == [[2]]


@pytest.mark.parametrize("mode", ["letterbox", "squash"])
@pytest.mark.parametrize("size", [(640, 480), (480, 640), (33, 500), (320, 320)])
def test_into_the_photo_and_back(mode: str, size: tuple[int, int]) -> None:
    spec = ImageInput(width=320, height=256, resize=320, mode=mode)  # type: ignore[arg-type]
    boxes = np.array([[0, 0, size[0], size[1]], [3, 5, 20, 31]], float)
    np.testing.assert_allclose(in_photo(in_input(boxes, size, spec), size, spec), boxes, atol=1e-9)


def test_boxes_are_cut_at_the_borders_of_the_photo() -> None:
    spec = ImageInput(width=320, height=256, resize=320, mode="letterbox")
    everything = np.array([[-50.0, -50, 400, 400]])
    assert in_photo(everything, (640, 480), spec).tolist() == [[0, 0, 640, 480]]


def photos() -> Array:
    boxes, scores = drawn(0, 20, 3, coarse=False)
    some = found(boxes, scores, threshold=0.5, iou=0.5, most=9)
    return as_array([some, found(boxes, scores, threshold=2, iou=0.5, most=9), some])


def test_packed_objects_unpack_to_the_same() -> None:
    for mine, there in zip(unpacked(packed(photos()), 3, 3), photos(), strict=True):
        assert np.array_equal(mine.boxes, there.boxes) and np.array_equal(mine.scores, there.scores)
        assert np.array_equal(mine.classes, there.classes)


def test_no_photos_unpack_to_none() -> None:
    assert len(unpacked(packed(as_array([])), 0, 3)) == 0
    nothing = Found(boxes=np.zeros((0, 4)), scores=np.zeros(0), classes=np.zeros(0, int))
    assert [len(each.scores) for each in unpacked(packed(as_array([nothing] * 2)), 2, 3)] == [0, 0]


@pytest.mark.parametrize(("place", "value"), [(0, 3), (0, -1), (1, 3), (1, -1), (2, np.nan), (5, np.inf)])
def test_rows_that_name_no_photo_or_label_or_no_number_are_refused(place: int, value: float) -> None:
    rows = packed(photos())
    rows[0, place] = value
    with pytest.raises(ValueError, match="no"):
        unpacked(rows, 3, 3)
