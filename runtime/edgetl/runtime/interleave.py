"""Times several subjects in turns, so that whatever the machine does in between hits all of them alike."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from edgetl.types import Array

SETTLE = 2
"""Untimed queries at the start of each turn: the first ones pay for what the others left in the caches."""


def interleave(
    calls: Sequence[Callable[[int], object]],
    *,
    blocks: int,
    queries: int,
    warmup: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Array:
    """Milliseconds of each query, shape (subjects, blocks, queries).

    `calls[s](i)` runs the i-th query of subject s; in one block all subjects get the same ones. In each block every
    subject has one turn of `queries` consecutive queries. Who begins changes from block to block (AB BA AB … for two,
    ABC BCA CAB … for three). `warmup` untimed queries of each subject come first; `clock` counts seconds.
    Reference: Kalibera & Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013, on what must be repeated.
    """
    times = np.empty((len(calls), blocks, queries))
    for call in calls:
        for number in range(warmup):
            call(number)
    for block in range(blocks):
        first = block * (SETTLE + queries)
        for place in range(len(calls)):
            subject = (block + place) % len(calls)
            times[subject, block] = _turn(calls[subject], first, queries, clock)
    return times


def _turn(call: Callable[[int], object], first: int, queries: int, clock: Callable[[], float]) -> list[float]:
    """Milliseconds of one subject's consecutive queries."""
    for number in range(first, first + SETTLE):
        call(number)
    milliseconds = []
    for number in range(first + SETTLE, first + SETTLE + queries):
        began = clock()
        call(number)
        milliseconds.append(1000 * (clock() - began))
    return milliseconds
