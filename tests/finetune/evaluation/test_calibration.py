"""The temperature mends over-confidence, and does not promise more than few samples can show."""

import numpy as np
import pytest

from edgetl.finetune.evaluation.calibration import (
    MAX_TEMPERATURE,
    answers,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from edgetl.types import Array


def drawn(samples: int, factor: float, *, labels: int = 5, seed: int = 0) -> tuple[Array, Array]:
    """Logits, `factor` times too large, and truths drawn from the softmax of the right ones."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (samples, labels))
    truths = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return (factor * logits).astype(np.float32), truths


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0, 8.0])
def test_a_known_factor_is_recovered(factor: float) -> None:
    assert fit_temperature(*drawn(4000, factor)) == pytest.approx(factor, rel=0.07)


def test_the_error_falls_on_held_out_data() -> None:
    temperature = fit_temperature(*drawn(1000, 4.0, seed=1))
    logits, truths = drawn(2000, 4.0, seed=2)
    before, after = answers(logits, truths), answers(logits, truths, temperature)
    assert expected_calibration_error(before.confidence, before.correct) > 0.1
    assert expected_calibration_error(after.confidence, after.correct) < 0.04


def test_flawless_answers_on_few_images_do_not_become_certain() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 2.0]] * 10, np.float32)
    temperature = fit_temperature(logits, np.array([0, 1] * 10))
    assert 0.3 < temperature < 1.0
    assert answers(logits, np.array([0, 1] * 10), temperature).confidence.max() < 0.999


def test_answers_worse_than_chance_stay_within_the_limits() -> None:
    logits = np.array([[50.0, 0.0]] * 5000, np.float32)
    assert 10 < fit_temperature(logits, np.ones(5000, np.int64)) <= MAX_TEMPERATURE


def test_without_samples_nothing_changes() -> None:
    assert fit_temperature(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)) == pytest.approx(1.0, abs=1e-3)


def test_copies_of_one_image_count_once() -> None:
    logits, truths = drawn(60, 3.0)
    once = fit_temperature(logits, truths)
    copies = fit_temperature(np.repeat(logits, 20, axis=0), np.repeat(truths, 20), np.repeat(np.arange(60), 20))
    assert copies == pytest.approx(once, rel=1e-3)
    assert fit_temperature(np.repeat(logits, 20, axis=0), np.repeat(truths, 20)) != pytest.approx(once, rel=1e-2)


def test_the_calibration_error_computed_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.55, 1.0, 0.0])
    correct = np.array([True, False, True, True, True, False])
    # Bins (14/15, 1]: 3 samples, confidence 2.9/3, right 2/3; (8/15, 9/15]: confidence 0.55, right 1; [0, 1/15]: 0, 0.
    assert expected_calibration_error(confidence, correct) == pytest.approx((0.9 + 0.9 + 0.0) / 6)
    assert [part.samples for part in reliability(confidence, correct)] == [1, 2, 3]
