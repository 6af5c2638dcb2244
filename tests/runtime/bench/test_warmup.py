"""When warming up ends: at rest, not after a constant, and never later than the limit. The clock is a fake one."""

import pytest
from tests.runtime.bench.world import World

from edgetl.runtime.bench.warmup import AGREE, WINDOW_QUERIES, WINDOW_SECONDS, warm_up

FAST = 2 * WINDOW_SECONDS / WINDOW_QUERIES
"""Seconds of a query so long that the count decides about a window."""


def test_a_steady_model_is_warm_after_two_windows() -> None:
    world = World(lambda i: FAST)
    found = warm_up(world.ask, least=0, max_seconds=100, clock=world.clock)
    assert found.stable and found.queries == 2 * WINDOW_QUERIES
    assert world.asked == list(range(found.queries)), "another input for each query"


def test_a_model_that_gets_faster_is_waited_for() -> None:
    """Every query takes 3 % less than the one before until the sixtieth; then all take the same."""
    world = World(lambda i: FAST * 0.97 ** min(i, 60) / 0.97**60)
    found = warm_up(world.ask, least=0, max_seconds=100, clock=world.clock)
    assert found.stable and found.queries == 80, "the windows from 60 to 70 and from 70 to 80 are the first to agree"


def test_at_least_so_many_queries_are_asked() -> None:
    world = World(lambda i: FAST)
    assert warm_up(world.ask, least=45, max_seconds=100, clock=world.clock).queries == 50


def test_a_window_of_a_very_fast_model_has_its_time() -> None:
    world = World(lambda i: WINDOW_SECONDS / 1000)
    found = warm_up(world.ask, least=0, max_seconds=100, clock=world.clock)
    assert found.seconds == pytest.approx(2 * WINDOW_SECONDS, rel=0.01) and found.queries == pytest.approx(
        2000, rel=0.01
    )


def test_one_that_never_settles_is_given_up_and_says_so() -> None:
    world = World(lambda i: FAST * (1 + 2 * AGREE) ** (i // WINDOW_QUERIES))
    found = warm_up(world.ask, least=0, max_seconds=3.0, clock=world.clock)
    assert not found.stable and 3.0 <= found.seconds <= 3.0 + 2 * FAST * 1.04**30
