"""A race: all candidates get a quick look in turns, those clearly slower drop out, the rest is measured longer.

References: Maron & Moore, "Hoeffding Races", NIPS 1993 (drop what an interval excludes); Jamieson & Talwalkar,
"Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016 (successive halving: each rung
spends twice as long on those left).
"""

import math
from collections.abc import Callable, Generator, Sequence

import msgspec
import numpy as np

from edgetl.devices.tuning.candidates import Candidate
from edgetl.errors import EngineError
from edgetl.runtime.plan import Figure
from edgetl.runtime.timing import ALPHA, t_quantile
from edgetl.types import Array, Track, silent

Cost = Callable[[Candidate, int, float], float]
"""Candidate, number of the turn, seconds to spend → what a sample costs in ms. EngineError: it does not run."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Each rung has `turns` turns of every candidate left; a turn of the first takes `seconds`, then twice that.

    `margin`: a candidate drops out when the lower bound of how much slower it is lies above this share.
    """

    rungs: int = 5
    turns: int = 3
    seconds: float = 0.1
    margin: float = 0.02


class Runner(msgspec.Struct, kw_only=True):
    """A candidate in the race: ms a sample in each turn so far; the rung it dropped out after; why it cannot run."""

    candidate: Candidate
    costs: list[float] = []
    dropped: int | None = None
    refused: str | None = None

    @property
    def measured(self) -> bool:
        return bool(self.costs) and self.refused is None


def race(
    candidates: Sequence[Candidate],
    cost: Cost,
    rules: Rules,
    *,
    expired: Callable[[], bool] = lambda: False,
    track: Track = silent,
    what: str = "tune",
) -> list[Runner]:
    """What was measured of each candidate, in the given order.

    In each turn all that are left are measured once, another one first each time, so that drift hits all alike.
    Ends when one is left, after the last rung, or when `expired` says so and at least one candidate was measured.
    """
    runners = [Runner(candidate=candidate) for candidate in candidates]

    def watched() -> str:
        return f"{what}, {sum(_left(runner) for runner in runners)} left"

    for runner, number, seconds in track(_turns(runners, rules, expired), watched):
        try:
            runner.costs.append(cost(runner.candidate, number, seconds))
        except EngineError as error:
            runner.refused = error.message
    return runners


def ranking(runners: Sequence[Runner]) -> list[Runner]:
    """Those that were measured, the best first: who stayed longer, then the lower cost in the turns they share."""
    measured = [runner for runner in runners if runner.measured]
    rungs = {runner.dropped for runner in measured}
    shared = {rung: min(len(runner.costs) for runner in measured if runner.dropped == rung) for rung in rungs}

    def place(runner: Runner) -> tuple[float, float]:
        stayed = math.inf if runner.dropped is None else runner.dropped
        return -stayed, float(np.mean(_logs(runner, shared[runner.dropped])))

    return sorted(measured, key=place)


def figure(costs: Sequence[float]) -> Figure:
    """The geometric mean over turns, and Student's t bounds from three turns on."""
    logs = np.log(np.array(costs))
    middle = float(logs.mean())
    if len(logs) < 3:
        return Figure(value=math.exp(middle))
    width = _width(logs)
    return Figure(value=math.exp(middle), low=math.exp(middle - width), high=math.exp(middle + width))


def _turns(
    runners: Sequence[Runner], rules: Rules, expired: Callable[[], bool]
) -> Generator[tuple[Runner, int, float], None, None]:
    """Whose turn it is, its number and its seconds; looks at what was measured since."""
    number = 0
    for rung in range(rules.rungs):
        for _ in range(rules.turns):
            left = [runner for runner in runners if _left(runner)]
            for place in range(len(left)):
                if expired() and any(runner.measured for runner in runners):
                    return
                yield left[(number + place) % len(left)], number, rules.seconds * 2**rung
            number += 1
        _drop(runners, rung, rules.margin)
        if sum(_left(runner) for runner in runners) <= 1:
            return


def _drop(runners: Sequence[Runner], rung: int, margin: float) -> None:
    """Marks those that are clearly slower than the best one left."""
    left = [runner for runner in ranking(runners) if _left(runner)]
    for runner in left[1:]:
        difference = _logs(runner, len(left[0].costs)) - _logs(left[0], len(runner.costs))
        if len(difference) > 1 and difference.mean() - _width(difference) > math.log1p(margin):
            runner.dropped = rung


def _left(runner: Runner) -> bool:
    return runner.dropped is None and runner.refused is None


def _logs(runner: Runner, turns: int) -> Array:
    return np.asarray(np.log(np.array(runner.costs[:turns])))


def _width(logs: Array) -> float:
    return t_quantile(1 - ALPHA, len(logs) - 1) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
