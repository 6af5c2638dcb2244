"""The race, with made-up costs: who drops out, who stays, what a cut-off leaves."""

import math

import numpy as np
import pytest

from edgetl.devices.tuning.candidates import Candidate
from edgetl.devices.tuning.front import pareto_front
from edgetl.devices.tuning.search import Rules, figure, race, ranking
from edgetl.errors import EngineError
from edgetl.runtime.plan import Tradeoff

RULES = Rules(rungs=4, turns=3, seconds=1.0)


def candidates(*names: str) -> list[Candidate]:
    return [Candidate(variant=name) for name in names]


class World:
    """True costs with noise and a machine that gets slower all the time; counts the seconds asked for."""

    def __init__(self, noise: float = 0.02, drift: float = 0.01, **costs: float) -> None:
        self._true, self._noise, self._drift = costs, noise, drift
        self._rng = np.random.default_rng(0)
        self.calls: list[str] = []
        self.seconds: dict[str, float] = {}

    def cost(self, candidate: Candidate, number: int, seconds: float) -> float:
        name = candidate.variant
        self.calls.append(name)
        self.seconds[name] = self.seconds.get(name, 0) + seconds
        drift = (1 + self._drift) ** len(self.calls)
        return self._true[name] * drift * math.exp(self._rng.normal(0, self._noise))


def test_the_clearly_slower_are_looked_at_once_and_the_close_ones_longest() -> None:
    world = World(best=1.0, close=1.03, slow=2.0, awful=9.0)
    runners = race(candidates("awful", "slow", "close", "best"), world.cost, RULES)
    assert [runner.candidate.variant for runner in ranking(runners)] == ["best", "close", "slow", "awful"]
    dropped = {runner.candidate.variant: runner.dropped for runner in runners}
    assert dropped["awful"] == dropped["slow"] == 0 and dropped["best"] is None
    assert world.seconds["slow"] == 3 < world.seconds["close"]


def test_drift_does_not_choose() -> None:
    """Two per cent slower with every query, so that who comes first in a turn looks better; the order changes."""
    world = World(noise=0.0, drift=0.02, a=1.0, b=1.0, c=1.0)
    runners = race(candidates("a", "b", "c"), world.cost, RULES)
    assert all(runner.dropped is None for runner in runners)
    means = [np.mean(np.log(runner.costs)) for runner in runners]
    assert max(means) - min(means) < 0.01


def test_the_race_ends_when_one_is_left() -> None:
    world = World(best=1.0, slow=5.0)
    runners = race(candidates("best", "slow"), world.cost, RULES)
    assert [len(runner.costs) for runner in runners] == [3, 3]


def test_within_the_margin_nothing_is_dropped() -> None:
    runners = race(candidates("a", "b"), World(noise=0.001, a=1.0, b=1.01).cost, RULES)
    assert all(runner.dropped is None and len(runner.costs) == 12 for runner in runners)


def test_without_time_at_least_one_is_measured() -> None:
    runners = race(candidates("a", "b"), World(a=1.0, b=0.5).cost, RULES, expired=lambda: True)
    assert [len(runner.costs) for runner in runners] == [1, 0]
    assert [runner.candidate.variant for runner in ranking(runners)] == ["a"]


def test_a_race_cut_in_the_middle_of_a_turn_compares_the_turns_all_had() -> None:
    world = World(noise=0.0, drift=0.5, a=1.0, b=0.9)
    runners = race(candidates("a", "b"), world.cost, RULES, expired=lambda: len(world.calls) == 3)
    assert sorted(len(runner.costs) for runner in runners) == [1, 2]


def test_what_cannot_run_is_left_out_with_its_reason() -> None:
    def cost(candidate: Candidate, number: int, seconds: float) -> float:
        if candidate.variant == "broken":
            raise EngineError("engine", "no such device")
        return 1.0

    runners = race(candidates("broken", "good"), cost, RULES, expired=lambda: False)
    assert runners[0].refused == "engine: no such device" and runners[0].costs == []
    assert [runner.candidate.variant for runner in ranking(runners)] == ["good"]


def test_bounds_hold_the_mean_and_need_three_turns() -> None:
    assert figure([2.0, 2.0]).low is None
    found = figure([1.0, 2.0, 4.0])
    assert found.value == pytest.approx(2.0) and found.low is not None and found.high is not None
    # Student's t with 2 degrees at 95 %: 2.92; the standard error of the logs is log(2) / sqrt(3)
    assert found.high == pytest.approx(2 * 2 ** (2.92 / math.sqrt(3)), rel=1e-3)


def tradeoff(name: str, drop: float | None, p50: float, size: int) -> Tradeoff:
    return Tradeoff(variant=name, options={}, p50_ms=p50, drop_points=drop, size_bytes=size)


def test_the_front_holds_what_nothing_else_beats() -> None:
    exact, small = tradeoff("exact", 0.0, 4.0, 40), tradeoff("small", 0.5, 2.0, 10)
    beaten, unknown = tradeoff("beaten", 0.7, 2.0, 10), tradeoff("unknown", None, 5.0, 50)
    assert pareto_front([exact, beaten, unknown, small]) == (small, exact)
    assert pareto_front([tradeoff("gain", -1.0, 4.0, 40), exact]) == (tradeoff("gain", -1.0, 4.0, 40), exact)
