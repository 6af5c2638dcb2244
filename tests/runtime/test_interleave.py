"""Turns: who answers when, what is timed, and that drift hits all alike. The clock is a fake one."""

from collections.abc import Callable

import numpy as np

from edgetl.runtime.interleave import SETTLE, interleave


class World:
    """A clock that only calls move, and a record of who answered which query."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls: list[tuple[str, int]] = []

    def clock(self) -> float:
        return self.seconds

    def subject(self, name: str, cost: Callable[[int], float]) -> Callable[[int], object]:
        def call(number: int) -> None:
            self.calls.append((name, number))
            self.seconds += cost(number)

        return call

    def turns(self) -> str:
        """The names in the order of their turns, consecutive calls as one."""
        names = [name for name, _ in self.calls]
        return "".join(name for i, name in enumerate(names) if i == 0 or names[i - 1] != name)


def test_times_are_milliseconds_of_each_subjects_queries() -> None:
    world = World()
    calls = [world.subject("a", lambda i: 0.002), world.subject("b", lambda i: 0.001 * i)]
    times = interleave(calls, blocks=2, queries=3, warmup=4, clock=world.clock)
    assert times.shape == (2, 2, 3)
    np.testing.assert_allclose(times[0], 2.0)
    np.testing.assert_allclose(times[1], [[2, 3, 4], [7, 8, 9]], rtol=1e-9)
    assert len(world.calls) == 2 * (4 + 2 * (SETTLE + 3)), "warm-up and settling are run, not timed"


def test_all_subjects_answer_the_same_queries_in_a_block() -> None:
    world = World()
    interleave([world.subject(name, lambda i: 1) for name in "ab"], blocks=3, queries=4, warmup=0, clock=world.clock)
    a, b = ([number for who, number in world.calls if who == name] for name in "ab")
    assert a == b == list(range(3 * (SETTLE + 4)))


def test_the_order_changes_from_block_to_block() -> None:
    """AB BA AB for two and ABC BCA CAB for three; two turns of one subject in a row show as one."""
    for names, turns in (("ab", "abab"), ("abc", "abcbcacab")):
        world = World()
        subjects = [world.subject(name, lambda i: 1) for name in names]
        interleave(subjects, blocks=3, queries=2, warmup=0, clock=world.clock)
        assert world.turns() == turns


def test_steady_drift_hits_two_subjects_alike() -> None:
    """Each call takes 1 % longer than the one before; blockwise A then B would make b look slower by far more."""
    world = World()
    calls = [world.subject(name, lambda i: 0.001 * (1 + 0.01 * len(world.calls))) for name in "ab"]
    times = interleave(calls, blocks=10, queries=5, warmup=0, clock=world.clock)
    assert abs(times[1].mean() / times[0].mean() - 1) < 1e-9
