"""Settles the fastest of the race's best in fresh processes, because one process can be lucky."""

from collections.abc import Sequence

import numpy as np

from edgetl.bundle import Bundle
from edgetl.devices.launches import LaunchPlan, Subject, measure_launches
from edgetl.devices.tuning.search import Runner, figure
from edgetl.runtime.interleave import SETTLE
from edgetl.runtime.plan import Figure
from edgetl.runtime.timing import Percentile, percentile_interval
from edgetl.types import Track, silent

FINALISTS = 3
LAUNCHES = LaunchPlan(launches=5, blocks=6, queries=10)

STARTING = 2.5
OPENING = 1.0
"""Seconds that a launch, and each session it opens, takes at most on a slow device."""


def settle_latency(
    bundle: Bundle, ranked: Sequence[Runner], seconds: float, track: Track = silent, *, plan: LaunchPlan = LAUNCHES
) -> tuple[list[tuple[Runner, Figure]], bool]:
    """The best of `ranked` with their p50 in ms, the fastest first; and whether fresh processes measured that.

    They do when `seconds` are enough for it, else the race's own turns count.
    """
    finalists = [runner for runner in ranked if runner.dropped is None][:FINALISTS] or list(ranked[:1])
    if _cost(finalists, plan) > seconds:
        return [(runner, figure(runner.costs)) for runner in ranked], False
    subjects = [
        Subject(
            bundle=str(bundle.path),
            variant=each.candidate.variant,
            manifest=bundle.digest,
            options=each.candidate.options,
        )
        for each in finalists
    ]
    times = measure_launches(subjects, plan, track)
    order = np.argsort(np.median(times, axis=(1, 2, 3)))
    settled = [(finalists[i], _p50(percentile_interval(times[i], 0.5))) for i in order]
    # two processes differ, so what was measured in this one only counts relative to a finalist
    scale = settled[0][1].value / figure(settled[0][0].costs).value
    others = [runner for runner in ranked if all(runner is not each for each in finalists)]
    return settled + [(runner, _scaled(figure(runner.costs), scale)) for runner in others], True


def _cost(finalists: Sequence[Runner], plan: LaunchPlan) -> float:
    """Seconds that the launches will take at most."""
    queries = plan.warmup + plan.blocks * (plan.queries + SETTLE)
    asking = sum(figure(runner.costs).value for runner in finalists) * queries / 1000
    return plan.launches * (STARTING + OPENING * len(finalists) + asking)


def _p50(found: Percentile) -> Figure:
    return Figure(value=found.value, low=found.low, high=found.high)


def _scaled(one: Figure, scale: float) -> Figure:
    low, high = (None if bound is None else bound * scale for bound in (one.low, one.high))
    return Figure(value=one.value * scale, low=low, high=high)
