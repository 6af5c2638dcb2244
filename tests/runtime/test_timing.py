"""The bounds of latencies against tables and against simulated machines with drift, spikes and lucky launches."""

import math

import numpy as np
import pytest

from edgetl.errors import ConfigError
from edgetl.runtime.timing import (
    level,
    level_p_value,
    percentile_interval,
    percentile_p_value,
    ratio,
    ratio_p_value,
    t_cdf,
    t_quantile,
)
from edgetl.types import Array


def related(rng: np.random.Generator, shape: tuple[int, ...], rho: float) -> Array:
    """Standard normal series along the last axis, each value correlated `rho` with the one before."""
    series = rng.normal(size=shape)
    for i in range(1, shape[-1]):
        series[..., i] = rho * series[..., i - 1] + math.sqrt(1 - rho * rho) * series[..., i]
    return series


def machine(
    rng: np.random.Generator, launches: int, *, factor: float = 1.0, lucky: float = 0.02, subjects: int = 2
) -> Array:
    """Times around 2 ms, shape (subjects, launches, 10, 10): the last subject takes `factor` times as long.

    Each launch is lucky for all and for each (`lucky`, standard deviation of the logarithm), blocks drift, neighbouring
    queries resemble each other, and 3 % are disturbed.
    """
    shared = 0.03 * rng.normal(size=(1, launches, 1, 1)) + 0.05 * related(rng, (1, 1, launches, 10), 0.5)[0, ..., None]
    own = lucky * rng.normal(size=(subjects, launches, 1, 1))
    queries = 0.05 * related(rng, (subjects, launches, 100), 0.5).reshape(subjects, launches, 10, 10)
    times = 2 * np.exp(shared + own + queries)
    times[-1] *= factor
    return np.asarray(times + (rng.random(times.shape) < 0.03) * rng.exponential(4, times.shape))


@pytest.mark.parametrize(
    ("p", "degrees", "t"),
    [
        (0.95, 1, 6.313752),
        (0.975, 2, 4.302653),
        (0.95, 4, 2.131847),
        (0.99, 5, 3.364930),
        (0.9995, 7, 5.407883),
        (0.95, 9, 1.833113),
        (0.975, 30, 2.042272),
        (0.5, 3, 0.0),
    ],
)
def test_students_t_is_that_of_the_tables(p: float, degrees: int, t: float) -> None:
    """Table of percentage points, e.g. Pearson & Hartley, Biometrika Tables for Statisticians I, table 12."""
    assert t_quantile(p, degrees) == pytest.approx(t, abs=1e-6)
    assert t_quantile(1 - p, degrees) == pytest.approx(-t, abs=1e-6)
    assert t_cdf(t, degrees) == pytest.approx(p, abs=1e-7)


def test_independent_queries_of_one_launch_get_the_ranks_of_the_book() -> None:
    """For n = 100 and the median, one-sided 95 %: ranks 42 and 59 (Hahn & Meeker); batches may only widen them."""
    times = np.random.default_rng(3).permutation(np.arange(1.0, 101.0)).reshape(1, 20, 5)
    found = percentile_interval(times, 0.5)
    assert 34 <= found.low <= 42 and found.high is not None and 59 <= found.high <= 67
    assert found.value == 50.5


def test_too_few_queries_leave_a_high_percentile_without_upper_bound() -> None:
    """0.99^n is above 5 % below 299 queries, so the largest of them may be below the true p99."""
    rng = np.random.default_rng(0)
    for launches in (1, 2):
        assert percentile_interval(rng.gamma(9, size=(launches, 10, 10)), 0.99).high is None
        assert percentile_interval(rng.gamma(9, size=(launches, 100, 20)), 0.99).high is not None


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_bounds_of_one_launch_cover_despite_autocorrelation(q: float) -> None:
    """95 % of 500 series lie on the right side of each bound, within four standard errors (3.9 points)."""
    rng = np.random.default_rng(1)
    truth = float(np.quantile(np.exp(0.1 * rng.normal(size=10**6)), q))
    found = [percentile_interval(np.exp(0.1 * related(rng, (1, 400), 0.8)).reshape(1, 20, 20), q) for _ in range(500)]
    assert np.mean([each.low <= truth for each in found]) >= 0.911
    assert np.mean([each.high is None or each.high >= truth for each in found]) >= 0.911


def test_bounds_of_several_launches_cover_the_launches_not_seen() -> None:
    """As above with 60 draws (11 points); queries as the unit would cover about half of the time."""
    rng = np.random.default_rng(2)
    truth = float(np.median([machine(rng, 50, subjects=1) for _ in range(100)]))
    found = [percentile_interval(machine(rng, 6, subjects=1)[0], 0.5) for _ in range(60)]
    assert np.mean([each.low <= truth for each in found]) >= 0.84
    assert np.mean([each.high is None or each.high >= truth for each in found]) >= 0.84


def test_a_ratio_on_the_margin_is_declared_in_at_most_five_percent() -> None:
    """400 comparisons of a subject that is slower by exactly the margin; four standard errors are 4.4 points."""
    rng = np.random.default_rng(4)
    found = [ratio(*machine(rng, 6, factor=1.05)) for _ in range(400)]
    assert np.mean([each.low > 1.05 for each in found]) <= 0.094
    assert np.mean([each.high < 1.05 for each in found]) <= 0.094


def test_ten_percent_is_found_and_no_difference_is_not() -> None:
    rng = np.random.default_rng(5)
    assert np.mean([ratio(*machine(rng, 8, factor=1.1)).low > 1.05 for _ in range(100)]) >= 0.8
    assert sum(ratio(*machine(rng, 8)).low > 1.05 for _ in range(100)) <= 1


def test_a_high_quantile_sees_rare_slow_queries_that_the_median_does_not() -> None:
    rng = np.random.default_rng(6)
    a, b = machine(rng, 6)
    b += 20 * (rng.random(b.shape) < 0.04)
    assert ratio(a, b, q=0.5).high < 1.1
    assert ratio(a, b, q=0.98).low > 1.5


def test_the_p_value_and_the_bound_say_the_same() -> None:
    rng = np.random.default_rng(7)
    for factor in (0.97, 1.03, 1.05, 1.08, 1.2):
        times = machine(rng, 5, factor=factor)
        p = ratio_p_value(times[0], times[1], 0.05)
        assert 0 <= p <= 1
        assert (p < 0.05) == (ratio(times[0], times[1]).low > 1.05)
        low = ratio(times[0], times[1], alpha=p).low if p > 0 else 1.05
        assert low == pytest.approx(1.05, rel=1e-6)


def test_the_p_value_of_a_percentile_and_its_bound_say_the_same() -> None:
    times = machine(np.random.default_rng(10), 5)[0]
    for q in (0.5, 0.9):
        found = percentile_interval(times, q, alpha=0.02)
        assert percentile_p_value(times, q, found.low) == pytest.approx(0.02, rel=1e-6)
        assert percentile_p_value(times, q, 2 * found.value) > 0.5


def test_queries_that_take_either_their_time_or_twice_that_do_not_hide_ten_percent() -> None:
    """A machine with more work than cores: launch by launch another share of queries waits for its turn.

    The quotient of medians then jumps by a factor of two; 40 comparisons, as many as the benchmark does in a tenth.
    """
    rng = np.random.default_rng(11)

    def busy(factor: float) -> tuple[Array, Array]:
        a, b = machine(rng, 6, factor=factor, lucky=0.01)
        waits = rng.uniform(0.35, 0.6, size=(2, 6, 1, 1)) > rng.random((2, *a.shape))
        return a * (1 + waits[0]), b * (1 + waits[1])

    assert np.mean([ratio(*busy(1.1)).low > 1.05 for _ in range(40)]) >= 0.75
    assert sum(ratio(*busy(1.0)).low > 1.05 for _ in range(40)) <= 1


def test_one_launch_with_a_subject_on_a_busy_core_does_not_hide_ten_percent() -> None:
    rng = np.random.default_rng(12)
    for unlucky in (0, 1):
        found = []
        for _ in range(40):
            times = machine(rng, 8, factor=1.1, lucky=0.01)
            times[unlucky, rng.integers(8)] *= 2
            found.append(ratio(times[0], times[1]).low > 1.05)
        assert np.mean(found) >= 0.75


def test_equal_input_gives_equal_bounds_and_exchange_mirrors_them() -> None:
    a, b = machine(np.random.default_rng(8), 5, factor=1.1)
    assert ratio(a, b) == ratio(a, b) and percentile_interval(a, 0.9) == percentile_interval(a, 0.9)
    there, back = ratio(a, b), ratio(b, a)
    assert there.value == pytest.approx(1 / back.value, rel=1e-9)
    assert there.low == pytest.approx(1 / back.high, rel=1e-9)


def test_a_subject_is_no_slower_than_itself() -> None:
    times = machine(np.random.default_rng(9), 4)[0]
    assert ratio_p_value(times, times, 0.05) == 1.0 and ratio_p_value(times, 2 * times, 0.05) < 1e-6


def test_what_cannot_be_bounded_is_refused() -> None:
    times = np.ones((1, 10, 10))
    for call in (
        lambda: ratio(times, times),
        lambda: ratio(np.ones((5, 10, 10)), np.ones((5, 9, 10))),
        lambda: percentile_p_value(times, 0.5, 1.0),
        lambda: percentile_interval(np.ones((10, 10)), 0.5),
        lambda: percentile_interval(np.ones((5, 1, 10)), 0.5),
    ):
        with pytest.raises(ConfigError) as caught:
            call()
        assert caught.value.hint


def test_the_level_of_launches_is_their_trimmed_geometric_mean() -> None:
    """Of 1, 2, 4, 8, 16, 400 the first and the last are left out: √(4 · 8) is the middle of 2, 4, 8, 16."""
    values = np.array([400.0, 2.0, 4.0, 1.0, 8.0, 16.0])
    found = level(values)
    assert found.value == pytest.approx(math.sqrt(32)) and found.low < found.value < found.high
    assert level(np.array([2.0, 8.0])).value == pytest.approx(4.0)
    turned = level(1 / values)
    assert (1 / turned.high, 1 / turned.low) == pytest.approx((found.low, found.high)), "a rate is a time turned over"


def test_bounds_and_p_value_of_a_level_are_two_sides_of_one_test() -> None:
    values = np.exp(np.random.default_rng(2).normal(0, 0.1, 8))
    for alpha in (0.2, 0.05, 0.001):
        found = level(values, alpha)
        assert level_p_value(values, 0.9999 * found.low) <= alpha < level_p_value(values, 1.0001 * found.low)
        assert level_p_value(1 / values, 0.9999 / found.high) <= alpha < level_p_value(1 / values, 1.0001 / found.high)
    assert level_p_value(np.full(5, 2.0), 3.0) == 1.0 and level_p_value(np.full(5, 2.0), 1.0) == 0.0


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_bounds_of_a_level_cover(alpha: float) -> None:
    """2,000 times eight launches that differ by 5 %; within four standard errors."""
    rng = np.random.default_rng(7)
    found = [level(np.exp(rng.normal(0, 0.05, 8)), alpha) for _ in range(2000)]
    allowed = alpha + 4 * (alpha * (1 - alpha) / 2000) ** 0.5
    assert np.mean([each.low > 1 for each in found]) <= allowed
    assert np.mean([each.high < 1 for each in found]) <= allowed


@pytest.mark.parametrize("values", [np.array([1.0]), np.array([1.0, 0.0]), np.ones((2, 2))])
def test_one_launch_or_a_rate_of_nothing_has_no_level(values: Array) -> None:
    with pytest.raises(ConfigError, match="no bounds"):
        level(values)
