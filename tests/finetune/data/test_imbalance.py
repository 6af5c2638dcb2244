"""Unequal classes are noticed, and each remedy gives rare classes their due."""

import numpy as np
import pytest

from edgetl.finetune.data.imbalance import Mode, balanced_order, class_weights, explain, imbalance, remedy
from edgetl.types import Array


def sized(*counts: int) -> Array:
    return np.repeat(np.arange(len(counts)), counts)


@pytest.mark.parametrize(
    ("counts", "chosen"), [((50, 50), "none"), ((49, 10), "none"), ((50, 10), "weights"), ((200, 10), "sampling")]
)
def test_the_remedy_follows_the_ratio(counts: tuple[int, ...], chosen: str) -> None:
    assert remedy("auto", sized(*counts)) == chosen
    assert imbalance(sized(*counts)).imbalanced == (chosen != "none")


@pytest.mark.parametrize("mode", ["none", "weights", "sampling"])
def test_a_remedy_that_was_asked_for_is_taken(mode: Mode) -> None:
    assert remedy(mode, sized(50, 50)) == remedy(mode, sized(500, 5)) == mode


def test_the_line_for_people_has_the_numbers() -> None:
    line = explain(imbalance(sized(60, 0, 8)), "weights")
    assert "60" in line and "8" in line and "7.5" in line
    assert "nothing is done" in explain(imbalance(sized(60, 8)), "none")
    assert imbalance(sized()).ratio == 1.0


def test_weights_have_mean_one_over_the_samples_and_favour_the_rare() -> None:
    labels = sized(100, 10, 0)
    weights = class_weights(labels, 3)
    assert weights.dtype == np.float32 and weights[2] == 0
    assert weights[labels].mean() == pytest.approx(1.0)
    effective = [(1 - 0.999**n) / 0.001 for n in (100, 10)]
    assert weights[1] / weights[0] == pytest.approx(effective[0] / effective[1], rel=1e-4)


def test_large_classes_keep_more_weight_than_inverse_frequency_leaves_them() -> None:
    weights = class_weights(sized(100_000, 100), 2)
    assert 5 < weights[1] / weights[0] < 20  # inverse frequency would be 1000


def test_sampling_draws_classes_equally_and_repeats_only_when_it_must() -> None:
    labels = np.random.default_rng(1).permutation(sized(90, 7, 23))
    order = balanced_order(labels, 0)
    assert len(order) == len(labels) and order.dtype == np.int64
    assert np.bincount(labels[order]).tolist() == [40, 40, 40]
    times = np.bincount(order, minlength=len(labels))
    assert set(times[labels == 0]) == {0, 1} and set(times[labels == 1]) == {5, 6} and set(times[labels == 2]) == {1, 2}


def test_sampling_is_decided_by_the_seed() -> None:
    labels = sized(90, 7, 23)
    first, again = (balanced_order(labels, np.random.SeedSequence([5, 1])) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, balanced_order(labels, np.random.SeedSequence([5, 2])))
    rng = np.random.default_rng(3)
    assert not np.array_equal(balanced_order(labels, rng), balanced_order(labels, rng))
    assert len(balanced_order(sized(), 0)) == 0
