"""How far boxes and scores are apart: what both find, and row by row."""

import msgspec
import numpy as np
import pytest
from tests.devices.detection.detectors import QUERIES, TASK, noisy, shuffled, world

from edgetl.devices.detection.agreement import agree, matched_objects
from edgetl.devices.numerics import Distance
from edgetl.tasks import ObjectDetection
from edgetl.tasks.detections import Found
from edgetl.types import Array, Outputs

WORLD = world()


def found(boxes: list[list[float]], scores: list[float], classes: list[int] | None = None) -> Found:
    labels = np.array(classes or [0] * len(boxes))
    return Found(boxes=np.array(boxes, float).reshape(-1, 4), scores=np.array(scores), classes=labels)


BOX, NEXT = [0.0, 0, 10, 10], [100.0, 0, 110, 10]


@pytest.mark.parametrize(
    ("mine", "theirs", "share"),
    [
        (found([BOX, NEXT], [0.9, 0.8]), found([BOX, NEXT], [0.9, 0.8]), 1),
        (found([BOX], [0.9]), found([BOX, NEXT], [0.9, 0.8]), 2 / 3),
        (found([BOX], [0.9], [1]), found([BOX], [0.9]), 0),
        # on either side of the threshold, by noise
        (found([BOX], [0.31]), found([BOX], [0.29]), 1),
        (found([BOX], [0.9]), found([BOX], [0.1]), 0),
        (found([BOX, BOX], [0.9, 0.8]), found([BOX], [0.9]), 2 / 3),
        (found([], []), found([], []), 1),
        (found([], []), found([BOX], [0.9]), 0),
        # an overlap of 0.5 is enough, one of 0.4 is not
        (found([[0, 0, 10, 5]], [0.9]), found([BOX], [0.9]), 1),
        (found([[0, 0, 10, 4]], [0.9]), found([BOX], [0.9]), 0),
    ],
)
def test_the_share_of_objects_that_both_find(mine: Found, theirs: Found, share: float) -> None:
    assert matched_objects(mine, theirs, 0.3).share == pytest.approx(share)
    assert matched_objects(theirs, mine, 0.3).share == pytest.approx(share)


def test_the_pair_that_fits_best_is_the_same_object() -> None:
    """The surer box lies on two objects; the other one is left for its own."""
    mine = found([[0, 0, 10, 10], [3, 0, 13, 10]], [0.9, 0.8])
    theirs = found([[3, 0, 13, 10], [1, 0, 11, 10]], [0.9, 0.8])
    near = matched_objects(mine, theirs, 0.3)
    assert near.share == 1 and sorted(near.iou) == pytest.approx([9 / 11, 1])
    assert near.differences == pytest.approx([0.1, 0.1])


def test_equal_answers_are_no_distance_apart() -> None:
    distance = agree(WORLD.outputs, WORLD.outputs, TASK).distance()
    assert (distance.max_abs_dlogit, distance.kl, distance.agreement, distance.sqnr_db) == (0, 0, 1, 200)


def test_decibels_are_of_the_errors_that_were_made() -> None:
    """Every coordinate a tenth of its box's side off is 20 dB; every score a hundredth of itself, 40 dB."""
    side = np.sqrt(np.prod(WORLD.outputs["boxes"][..., 2:] - WORLD.outputs["boxes"][..., :2], axis=-1, keepdims=True))
    off = {"boxes": WORLD.outputs["boxes"] + 0.1 * side, "scores": WORLD.outputs["scores"] * 1.01}
    said = agree(off, WORLD.outputs, TASK)
    assert said.box_sqnr_db == pytest.approx(20, abs=0.01) and said.score_sqnr_db == pytest.approx(40, abs=0.01)
    assert said.sqnr_db == said.box_sqnr_db and said.most == pytest.approx(0.1, rel=1e-3)


def test_rows_that_find_nothing_do_not_matter() -> None:
    off = {name: array.copy() for name, array in WORLD.outputs.items()}
    off["boxes"][WORLD.outputs["scores"].max(axis=2) < 0.04] += 50
    assert agree(off, WORLD.outputs, TASK).sqnr_db == 200


def test_an_object_from_nowhere_matters() -> None:
    off = {name: array.copy() for name, array in WORLD.outputs.items()}
    quiet = WORLD.outputs["scores"].max(axis=2).argmin(axis=1)
    off["scores"][np.arange(len(quiet)), quiet, 0] = 0.9
    said = agree(off, WORLD.outputs, TASK)
    assert said.worst_label == 0 and said.score_sqnr_db < 10 and said.matched < 0.97


def test_noise_like_that_of_int8_is_within_the_shipped_tolerance() -> None:
    said = agree(noisy(WORLD.outputs), WORLD.outputs, TASK)
    assert said.sqnr_db > 20 and said.matched > 0.97 and said.matched_iou > 0.9 and said.divergence < 0.05
    assert said.label_sqnr_db > 12 and 0 < said.mean_score_difference < said.max_score_difference < 0.2


def test_without_an_order_rows_are_matched_as_objects() -> None:
    said = agree(shuffled(noisy(WORLD.outputs)), WORLD.outputs, QUERIES)
    assert said.sqnr_db > 20 and said.matched > 0.97
    assert agree(shuffled(WORLD.outputs), WORLD.outputs, QUERIES).sqnr_db == 200
    assert agree(shuffled(WORLD.outputs), WORLD.outputs, TASK).sqnr_db < 3


def test_a_lost_label_is_the_worst_one() -> None:
    off = {"boxes": WORLD.outputs["boxes"], "scores": WORLD.outputs["scores"] * np.array([1, 0, 1], np.float32)}
    for task in (TASK, QUERIES):
        said = agree(off, WORLD.outputs, task)
        assert said.worst_label == 1 and said.label_sqnr_db < 6 and said.matched < 0.95


def broken(value: float) -> Outputs:
    def with_it(array: Array) -> Array:
        array = array.copy()
        array[3] = value
        return array

    return {name: with_it(array) for name, array in WORLD.outputs.items()}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("task", [TASK, QUERIES], ids=["ordered", "queries"])
def test_a_broken_answer_gives_a_distance_that_json_can_carry(value: float, task: ObjectDetection) -> None:
    distance = agree(broken(value), WORLD.outputs, task).distance()
    assert msgspec.json.decode(msgspec.json.encode(distance), type=Distance) == distance
    assert distance.sqnr_db < 20 and distance.agreement < 1


def test_a_detector_that_finds_nothing_agrees_with_one_that_finds_nothing() -> None:
    nothing = {"boxes": WORLD.outputs["boxes"], "scores": np.zeros_like(WORLD.outputs["scores"])}
    for task in (TASK, QUERIES):
        assert agree(nothing, nothing, task).sqnr_db == 200
        assert agree(nothing, WORLD.outputs, task).matched == 0
