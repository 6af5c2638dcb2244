"""The bounds of the paired drop against closed forms and simulation."""

import numpy as np
import pytest

from edgetl.devices.statistics import drop_bounds, samples_to_decide, score_bound


@pytest.mark.parametrize(("samples", "points"), [(153, 1.94), (256, 1.16), (300, 0.994)])
def test_no_change_at_all_leaves_the_bound_of_the_rule_of_three(samples: int, points: float) -> None:
    """Exactly 1 − 0.05^(1/n) when nothing changed; the exact method may be slightly wider, never narrower."""
    low, high = drop_bounds(0, 0, samples)
    assert points - 0.001 <= 100 * high <= points + 0.05
    assert low == -high


def test_bounds_surround_the_observed_drop_and_mirror() -> None:
    low, high = drop_bounds(9, 4, 400)
    assert low < 5 / 400 < high
    assert drop_bounds(4, 9, 400) == (-high, -low)


def test_no_samples_know_nothing() -> None:
    assert drop_bounds(0, 0, 0) == (-1.0, 1.0)


def test_everything_lost_is_certain() -> None:
    low, high = drop_bounds(150, 0, 150)
    assert low > 0.95 and high == pytest.approx(1.0)


@pytest.mark.parametrize(("lost", "gained", "samples"), [(0.02, 0.0, 150), (0.03, 0.02, 250), (0.05, 0.05, 150)])
def test_the_upper_bound_is_below_the_truth_in_at_most_five_percent(lost: float, gained: float, samples: int) -> None:
    """Coverage by simulation; 1,500 draws put 5 % within 3.3 % … 6.7 % at four standard errors."""
    draws = np.random.default_rng(1).multinomial(samples, [lost, gained, 1 - lost - gained], size=1500)
    counted: dict[tuple[int, int], float] = {}
    misses = 0
    for b, c, _ in draws.tolist():
        if (b, c) not in counted:
            counted[b, c] = drop_bounds(b, c, samples)[1]
        misses += counted[b, c] < lost - gained
    assert misses / len(draws) <= 0.067


def test_exact_and_score_bound_agree_where_both_apply() -> None:
    assert drop_bounds(60, 40, 4000)[1] == pytest.approx(score_bound(60, 40, 4000), abs=5e-4)


def test_samples_to_decide() -> None:
    assert samples_to_decide(0, 0, 153, 0.01) == pytest.approx(300, rel=0.15)
    assert samples_to_decide(80, 0, 1000, 0.01) == 1000, "already decided"
    assert samples_to_decide(20, 10, 1000, 0.01) is None, "the observed drop stands on the bound"
