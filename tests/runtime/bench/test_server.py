"""The server scenario: what a latency is, and that the rate found is the one queueing theory gives."""

import math

import msgspec
import numpy as np
import pytest
from tests.runtime.bench.world import World

from edgetl.runtime.bench.options import BenchOptions
from edgetl.runtime.bench.rates import APART, CEILING, highest_rate
from edgetl.runtime.bench.scenarios.server import arrivals, queries_of, serve, trial

SERVICE = 0.001


def waits_at_most(t: float, rate: float) -> float:
    """M/D/1: the share of queries that wait no longer than `t` seconds for a service of `SERVICE` seconds.

    Crommelin, "Delay probability formulae when the holding times are constant", 1932; in any text on queues.
    """
    terms = [
        (-rate * (t - k * SERVICE)) ** k / math.factorial(k) * math.exp(rate * (t - k * SERVICE))
        for k in range(math.floor(t / SERVICE) + 1)
    ]
    return (1 - rate * SERVICE) * sum(terms)


@pytest.mark.parametrize("bound_ms", [3.0, 8.0])
def test_the_rate_found_is_that_of_queueing_theory(bound_ms: float) -> None:
    """One caller, a service of 1 ms: an M/D/1 queue on a fake clock."""
    options = BenchOptions(bound_ms=bound_ms, trial_queries=5000, min_seconds=0.1)

    def holds(rate: float) -> bool:
        world = World(lambda i: SERVICE)
        return trial(world.ask, rate, 0, options, world.clock, world.sleep)[0].held

    rates = np.linspace(1, 999, 999)
    share = np.array([waits_at_most(bound_ms / 1000 - SERVICE, rate) for rate in rates])
    exact = float(rates[share >= 0.99].max())
    found = highest_rate(holds, capacity=1 / SERVICE)
    assert found.passing is not None and found.failing is not None
    assert found.failing / found.passing <= APART
    # 5,000 queries of a busy queue tell its p99 to some percent
    assert 0.9 * exact <= found.passing <= found.failing <= 1.1 * exact


def test_a_latency_counts_from_the_scheduled_arrival() -> None:
    """Arrivals at 0, 1 and 2 s, each takes 1.5 s: they are done at 1.5, 3 and 4.5 s."""
    world = World(lambda i: 1.5)
    found = serve(world.ask, np.array([0.0, 1.0, 2.0]), 1, 1e9, 0, world.clock, world.sleep)
    np.testing.assert_allclose(found, [1500, 2000, 2500])


def test_a_trial_ends_when_it_cannot_hold_any_more() -> None:
    world = World(lambda i: 2.0)
    found = serve(world.ask, np.arange(1000.0), 1, 2500, 4, world.clock, world.sleep)
    # latencies are 2, 3, 4 … s; five are later than 2.5 s after six queries
    assert len(found) == 6 and np.sum(found > 2500) == 5


def test_callers_share_one_queue() -> None:
    due = np.zeros(40)
    asked: list[int] = []
    found = serve(asked.append, due, 4, 1e9, 0)
    assert sorted(asked) == list(range(40)) and len(found) == 40


def test_a_failing_query_is_raised() -> None:
    def ask(number: int) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        serve(ask, np.zeros(4), 2, 1.0, 4)


def test_arrivals_are_poisson_and_scale_with_the_rate() -> None:
    slow, fast = arrivals(10, 20_000, 0), arrivals(40, 20_000, 0)
    np.testing.assert_allclose(slow, 4 * fast)
    gaps = np.diff(slow)
    # exponential gaps: the mean is 1/rate, and the standard deviation as large
    assert gaps.mean() == pytest.approx(0.1, rel=0.03) and gaps.std() == pytest.approx(0.1, rel=0.03)
    assert not np.array_equal(slow, arrivals(10, 20_000, 1))


def test_a_trial_has_enough_queries_and_lasts_longer_than_the_bound() -> None:
    options = BenchOptions(min_seconds=1.0, trial_queries=300, max_seconds=30.0, bound_ms=10.0)
    assert queries_of(1000, options) == 1000
    assert queries_of(100, options) == 300
    assert queries_of(2, options) == 60, "a slow device is not asked for longer than `max_seconds`"
    assert queries_of(1000, msgspec.structs.replace(options, bound_ms=500.0)) == 10_000


def test_rates_outside_the_search_are_said() -> None:
    assert highest_rate(lambda rate: False, 100).reason.startswith("no rate from 2.2 on")
    loose = highest_rate(lambda rate: True, 100)
    assert loose.failing is None and loose.passing is not None and loose.passing <= CEILING * 100 and loose.reason
    exact = highest_rate(lambda rate: rate <= 3.3, 100)
    assert exact.passing is not None and exact.failing is not None and exact.passing <= 3.3 < exact.failing
