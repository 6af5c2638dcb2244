"""Average precision by hand: perfect answers, false alarms, missed and ignored objects."""

import numpy as np
import pytest

from edgetl.finetune.detection.matching import best_threshold, matched
from edgetl.finetune.detection.metrics import evaluate_boxes
from edgetl.run import BoxRecord
from edgetl.tasks.detections import Found


def record(label: int, left: float, *, ignored: bool = False) -> BoxRecord:
    return BoxRecord(label=label, left=left, top=0, right=left + 10, bottom=10, ignored=ignored)


def answer(*boxes: tuple[int, float, float]) -> Found:
    """From (label, left, score)."""
    return Found(
        boxes=np.array([[left, 0, left + 10, 10] for _, left, _ in boxes], np.float32).reshape(-1, 4),
        scores=np.array([score for *_, score in boxes], np.float32),
        classes=np.array([label for label, *_ in boxes], np.int64),
    )


TRUTHS = [[record(0, 0), record(1, 50)], [record(0, 20)]]


def test_perfect_answers_score_one() -> None:
    found = evaluate_boxes(TRUTHS, [answer((0, 0, 0.9), (1, 50, 0.8)), answer((0, 20, 0.7))], ["a", "b"])
    assert found.metrics == pytest.approx({"map50": 1.0, "map": 1.0})
    assert (found.photos, found.objects, [each.objects for each in found.classes]) == (2, 3, [2, 1])


def test_a_surer_false_alarm_and_a_missed_object_by_hand() -> None:
    """Class 0: wrong at 0.9, right at 0.8, the other object missed. Precision 1/2 up to recall 1/2, 0 beyond:
    51 of COCO's 101 recalls have 1/2, so AP50 = 51/101/2. Class 1 is perfect.
    """
    found = evaluate_boxes(TRUTHS, [answer((0, 80, 0.9), (0, 0, 0.8), (1, 50, 0.8)), answer()], ["a", "b"])
    assert found.classes[0].ap50 == pytest.approx(51 / 101 / 2)
    assert found.metrics["map50"] == pytest.approx((51 / 101 / 2 + 1) / 2)


def test_a_loose_box_counts_at_low_overlap_only() -> None:
    """Shifted by 2 of 10: IoU 8/12, right at 0.50 to 0.65, four of COCO's ten thresholds."""
    found = evaluate_boxes([[record(0, 0)]], [answer((0, 2, 0.9))], ["a"])
    assert found.metrics == pytest.approx({"map50": 1.0, "map": 0.4})


def test_ignored_objects_count_neither_way() -> None:
    truths = [[record(0, 0), record(0, 40, ignored=True)]]
    for answers in (answer((0, 0, 0.8)), answer((0, 40, 0.9), (0, 0, 0.8))):
        assert evaluate_boxes(truths, [answers], ["a"]).metrics["map50"] == pytest.approx(1.0)


def test_a_class_without_objects_has_no_score() -> None:
    found = evaluate_boxes([[record(0, 0)]], [answer((0, 0, 0.8), (1, 0, 0.9))], ["a", "b"])
    assert found.classes[1].ap50 is None
    assert found.metrics["map50"] == pytest.approx(1.0)


def test_no_answer_at_all_scores_zero() -> None:
    assert evaluate_boxes(TRUTHS, [answer(), answer()], ["a", "b"]).metrics == {"map50": 0.0, "map": 0.0}


def test_matching_says_what_is_right_wrong_and_missed() -> None:
    objects = [record(0, 0), record(0, 30), record(0, 60, ignored=True), record(1, 90)]
    found = matched(objects, answer((0, 1, 0.9), (0, 0, 0.8), (0, 60, 0.7), (0, 90, 0.6)))
    assert found.right.tolist() == [True, False, False, False]
    assert found.counts.tolist() == [True, True, False, True]
    assert found.found.tolist() == [True, False, False, False]


def test_the_threshold_parts_right_from_wrong_boxes() -> None:
    """All right boxes score 0.62 or more, all wrong ones 0.57 or less."""
    answers = [answer((0, 0, 0.9), (1, 50, 0.7), (0, 70, 0.57)), answer((0, 20, 0.62), (1, 60, 0.3))]
    assert best_threshold(TRUTHS, answers, 2) == pytest.approx(0.6)
