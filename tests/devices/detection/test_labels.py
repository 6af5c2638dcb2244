"""What happened to each label and group: figures, silent and damaged ones, a bound for all."""

import msgspec
import numpy as np
import pytest
from tests.devices.detection.detectors import TASK, noisy, world

from edgetl.devices.answers import Answers
from edgetl.devices.detection.labels import label_bound, label_reasons, label_reports
from edgetl.tasks.detections import Found, as_array
from edgetl.types import Array

WORLD = world(photos=50)
LABELS = TASK.labels


def without(photos: Array, label: int, share: float) -> Array:
    """Findings that lose a share of one label's objects."""
    rng = np.random.default_rng(0)

    def less(each: Found) -> Found:
        kept = (each.classes != label) | (rng.random(len(each.classes)) >= share)
        return Found(boxes=each.boxes[kept], scores=each.scores[kept], classes=each.classes[kept])

    return as_array([less(each) for each in photos])


def answers(variant: Array, groups: Array | None = None) -> Answers:
    return Answers(
        samples=np.arange(len(variant), dtype=np.uint64),
        truths=WORLD.truths,
        reference=TASK.findings(WORLD.outputs),
        variant=variant,
        groups=groups,
    )


RIGHT = TASK.findings(noisy(WORLD.outputs))


def test_every_label_is_reported_with_its_precision_and_bounds() -> None:
    reports = label_reports(answers(RIGHT), LABELS)
    assert [each.name for each in reports] == list(LABELS)
    counts = np.bincount(np.concatenate([each.classes for each in WORLD.truths]))
    assert [each.samples for each in reports] == counts.tolist()
    for each in reports:
        assert each.reference > 0.9 and each.drop_points.low < each.drop_points.value < each.drop_points.high
        assert each.drop_points.value == pytest.approx(100 * (each.reference - each.value)) and not each.damaged
    # what is rare is known less
    assert reports[2].drop_points.high > reports[0].drop_points.high


def test_a_damaged_label_is_named_and_no_other() -> None:
    hurt = answers(without(RIGHT, 1, 0.6))
    assert [each.damaged for each in label_reports(hurt, LABELS)] == [False, True, False]
    (reason,) = label_reasons(hurt, LABELS)
    assert reason.verdict == "pass" and (reason.cause or "").startswith("`white` dropped from ")
    assert label_reasons(answers(RIGHT), LABELS) == []


def test_a_silent_label_fails() -> None:
    reason = label_reasons(answers(without(RIGHT, 2, 1.0)), LABELS)[0]
    assert (reason.verdict, reason.cause) == ("fail", "silent: `platelet`") and reason.p_value is not None
    assert reason.p_value < 1e-6


def test_a_label_seen_twice_is_not_called_silent() -> None:
    """Two objects lost are no proof."""
    counts = np.array([int(np.sum(each.classes == 2)) for each in WORLD.truths])
    chosen = (counts == 0) | (np.cumsum(counts == 1) <= 2) & (counts == 1)
    some = answers(without(RIGHT, 2, 1.0)).only(chosen)
    assert label_reports(some, LABELS)[2].samples == 2
    assert [each for each in label_reasons(some, LABELS) if each.verdict == "fail"] == []


def test_groups_are_reported_after_the_labels() -> None:
    groups = np.where(np.arange(50) < 20, "night", "")
    half = as_array([*without(RIGHT[:20], 0, 0.6), *RIGHT[20:]])
    reports = label_reports(answers(half, groups), LABELS)
    assert [each.name for each in reports] == [*LABELS, "group night"]
    assert reports[-1].drop_points.value > 5 and reports[-1].samples < reports[0].samples


@pytest.mark.parametrize(
    ("lost", "most", "verdict"), [(0.0, 60.0, "pass"), (0.0, 1.0, "undecided"), (0.6, 10.0, "fail")]
)
def test_every_label_is_bounded(lost: float, most: float, verdict: str) -> None:
    reason = label_bound(answers(without(RIGHT, 1, lost)), most, LABELS)
    assert reason.verdict == verdict and ("`white`" in reason.text) == (verdict == "fail")


def test_a_smaller_share_makes_passing_harder() -> None:
    found = answers(RIGHT)
    most = 0.1 + max(each.drop_points.high for each in label_reports(found, LABELS))
    assert label_bound(found, most, LABELS).verdict == "pass"
    assert label_bound(found, most, LABELS, share=0.001).verdict == "undecided"


def test_without_any_object_nothing_is_decided() -> None:
    nothing = msgspec.structs.replace(answers(RIGHT), truths=as_array([
        Found(boxes=np.zeros((0, 4)), scores=np.zeros(0), classes=np.zeros(0, int))] * 50))  # fmt: skip
    assert label_reports(nothing, LABELS) == () and label_reasons(nothing, LABELS) == []
    assert label_bound(nothing, 5.0, LABELS).verdict == "undecided"
