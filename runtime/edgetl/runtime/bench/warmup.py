"""Queries before those that count, until their times no longer change."""

import time
from collections.abc import Callable

import msgspec
import numpy as np

WINDOW_QUERIES = 10
WINDOW_SECONDS = 0.05
"""A window holds at least so many queries, and at least so long, as processors take their time to speed up."""

AGREE = 0.02
"""Two successive windows agree when their medians differ by no more than this share."""


class WarmUp(msgspec.Struct, frozen=True, kw_only=True):
    """How many queries and seconds it took; `stable` is False when the time ran out first."""

    queries: int
    seconds: float
    stable: bool


def warm_up(
    ask: Callable[[int], object],
    *,
    least: int,
    max_seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> WarmUp:
    """Asks until the medians of two successive windows agree, `least` queries at least, or until `max_seconds`.

    `clock` counts seconds. A drift slower than `AGREE` a window is not seen.
    """
    began, count, before = clock(), 0, None
    while True:
        times: list[float] = []
        opened = now = clock()
        while len(times) < WINDOW_QUERIES or now - opened < WINDOW_SECONDS:
            start = clock()
            ask(count)
            now = clock()
            times.append(now - start)
            count += 1
            if now - began >= max_seconds:
                return WarmUp(queries=count, seconds=now - began, stable=False)
        median = float(np.median(times))
        if before is not None and count >= least and abs(median - before) <= AGREE * min(median, before):
            return WarmUp(queries=count, seconds=now - began, stable=True)
        before = median
