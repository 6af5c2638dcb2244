"""A detector in the layers of a verdict: pass, fail or undecided, and how many more photos would decide."""

import msgspec
import numpy as np
import pytest
from tests.devices.detection.detectors import TASK, noisy, world

from edgetl.devices.answers import Answers, no_answers
from edgetl.devices.drop import Evidence
from edgetl.devices.judging import judging_of
from edgetl.devices.layers.task import task_layer
from edgetl.devices.measures import measure_of, own_measure
from edgetl.devices.profile import Accuracy
from edgetl.tasks.detections import Found, as_array
from edgetl.types import Array

WORLD = world(photos=60)
RIGHT = TASK.findings(noisy(WORLD.outputs))
LABELS = TASK.labels


def accuracy(most: float, metric: str = "map50") -> Accuracy:
    return msgspec.structs.replace(Accuracy(), metric=metric, max_drop_points=most)


def evidence(variant: Array = RIGHT, looks: int = 1) -> Evidence:
    answers = Answers(
        samples=np.arange(len(variant), dtype=np.uint64),
        truths=WORLD.truths[: len(variant)],
        reference=TASK.findings(WORLD.outputs)[: len(variant)],
        variant=variant,
    )
    return Evidence(answers=answers, looks=looks)


def less(photos: Array, share: float) -> Array:
    rng = np.random.default_rng(0)
    return as_array([
        Found(boxes=each.boxes[kept], scores=each.scores[kept], classes=each.classes[kept])
        for each in photos for kept in [rng.random(len(each.scores)) >= share]
    ])  # fmt: skip


@pytest.mark.parametrize(("lost", "most", "verdict"), [(0.0, 20, "pass"), (0.0, 0.5, "undecided"), (0.3, 5, "fail")])
def test_a_drop_is_within_its_bound_above_it_or_neither(lost: float, most: float, verdict: str) -> None:
    metric, interval, reasons = task_layer(evidence(less(RIGHT, lost)), accuracy(most), LABELS, exempt=False)
    assert metric is not None and interval is not None and reasons[0].verdict == verdict
    assert (metric.name, metric.reference > 0.9) == ("map50", True)
    assert interval.low < interval.value < interval.high
    assert interval.value == pytest.approx(100 * (metric.reference - metric.value))
    assert ("more samples would decide" in reasons[0].text) == (verdict == "undecided")


def test_candidates_that_were_tried_share_the_error_budget() -> None:
    most = 0.1 + 100 * own_measure(TASK).drop(evidence(), accuracy(5)).high
    assert (_verdict(most, 1), _verdict(most, 50)) == ("pass", "undecided")


def _verdict(most: float, looks: int) -> str:
    return task_layer(evidence(looks=looks), accuracy(most), LABELS, exempt=False)[2][0].verdict


def test_the_stricter_metric_is_lower() -> None:
    """Boxes that are a few pixels off still overlap by half, and by 0.95 no longer."""
    coarse = TASK.findings(noisy(WORLD.outputs, pixels=4))
    at_half, at_ten = (
        measure_of(accuracy(2, name)).drop(evidence(coarse), accuracy(2, name)) for name in ("map50", "map")
    )
    assert at_half.value > at_ten.value + 0.1 and at_ten.reference - at_ten.value > 0.1


def test_the_manifest_keeps_the_metric_and_how_many_photos_changed() -> None:
    answers = evidence(less(RIGHT, 0.2)).answers
    result = own_measure(TASK).result(answers)
    assert (result.metric, result.samples) == ("map50", 60) and 15 < result.lost <= 60
    assert result.lost + result.gained <= result.samples
    measure = own_measure(TASK)
    assert measure.conceivable(own_measure(TASK).result(evidence().answers), 1.0)
    assert not measure.conceivable(result, 1.0)


@pytest.mark.parametrize("answers", [no_answers(), evidence(RIGHT[:0]).answers])
def test_no_photo_decides_nothing(answers: Answers) -> None:
    drop = own_measure(TASK).drop(Evidence(answers=answers), accuracy(2))
    assert (drop.low, drop.high, drop.p_above, drop.p_within) == (-1, 1, 1, 1)
    assert own_measure(TASK).enough(Evidence(answers=answers), accuracy(2), drop) is None


def test_findings_are_renamed_by_label_and_those_of_unknown_ones_left_out() -> None:
    renamed = judging_of(TASK).relabelled(WORLD.truths, np.array([2, -1, 0]))
    for mine, there in zip(renamed, WORLD.truths, strict=True):
        kept = there.classes != 1
        assert mine.classes.tolist() == [{0: 2, 2: 0}[label] for label in there.classes[kept].tolist()]
        assert np.array_equal(mine.boxes, there.boxes[kept])


def test_the_distance_is_that_of_the_numerics_layer() -> None:
    off = noisy(WORLD.outputs)
    distance = judging_of(TASK).distance(off, WORLD.arrays, TASK)
    assert distance.samples == 60 and distance.agreement > 0.97 and distance.sqnr_db > 20
