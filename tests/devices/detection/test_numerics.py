"""The numerics layer of detectors: within tolerance or not, in words, and its own answers again."""

import numpy as np
import pytest
from tests.devices.detection.detectors import QUERIES, TASK, noisy, shuffled, world

from edgetl.devices.detection.numerics import numerics_layer, reproduction
from edgetl.devices.profile import Numerics
from edgetl.types import Outputs

WORLD = world(photos=32)
SHIPPED = Numerics()


def test_equal_answers_pass_every_tolerance() -> None:
    for tolerance in (SHIPPED.fp32, SHIPPED.fp16, SHIPPED.int8):
        distance, reason = numerics_layer(WORLD.outputs, WORLD.arrays, tolerance, TASK)
        assert reason.verdict == "pass" and distance.samples == 32
        assert "100.0% of objects agree" in reason.text


def test_noise_like_that_of_int8_passes_as_int8_and_fails_as_fp32() -> None:
    off = noisy(WORLD.outputs)
    assert numerics_layer(off, WORLD.arrays, SHIPPED.int8, TASK)[1].verdict == "pass"
    reason = numerics_layer(off, WORLD.arrays, SHIPPED.fp32, TASK)[1]
    assert reason.verdict == "fail" and "allowed 0.001" in reason.text and reason.cause is None


def test_queries_in_another_order_pass() -> None:
    assert numerics_layer(shuffled(noisy(WORLD.outputs)), WORLD.arrays, SHIPPED.int8, QUERIES)[1].verdict == "pass"


def lost_label() -> Outputs:
    return {**WORLD.outputs, "scores": WORLD.outputs["scores"] * np.array([1, 1, 0], np.float32)}


def test_a_label_without_scores_fails_by_name() -> None:
    reason = numerics_layer(lost_label(), WORLD.arrays, SHIPPED.int8, TASK)[1]
    assert reason.verdict == "fail" and "the scores of `platelet`" in reason.text


def test_a_fault_fails_with_its_cause() -> None:
    boxes = WORLD.outputs["boxes"]
    off = {**WORLD.outputs, "boxes": np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)}
    reason = numerics_layer(off, WORLD.arrays, SHIPPED.int8, TASK)[1]
    assert reason.verdict == "fail" and "left, top, width, height" in str(reason.cause)


@pytest.mark.parametrize("value", [1.01, -0.01, np.nan])
def test_scores_outside_0_to_1_fail(value: float) -> None:
    off = {**WORLD.outputs, "scores": WORLD.outputs["scores"].copy()}
    off["scores"][0, 0, 0] = value
    reason = numerics_layer(off, WORLD.arrays, SHIPPED.int8, TASK)[1]
    assert reason.verdict == "fail" and "scores lie outside 0–1" in reason.text


def test_other_answers_on_the_same_kind_of_processor_are_suspicious() -> None:
    own, tolerance = noisy(WORLD.outputs), SHIPPED.int8
    again, odd = reproduction(own, own, tolerance, TASK, same_kind=True)
    assert again == 200 and odd is None
    other = noisy(WORLD.outputs, 5)
    found, odd = reproduction(other, own, tolerance, TASK, same_kind=True)
    assert found is not None and found < 40 and odd is not None
    assert odd.cause == "not the model that was judged at export"
    assert reproduction(other, own, tolerance, TASK, same_kind=False) == (found, None)
    assert reproduction(other, None, tolerance, TASK, same_kind=True) == (None, None)
