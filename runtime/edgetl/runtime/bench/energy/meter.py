"""How much energy a piece of work took, by meters that are read while it runs."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from edgetl.errors import EngineError

R = TypeVar("R")

TICK_SECONDS = 0.2
"""Meters are read so often while work runs: counters wrap around, and power changes."""


class Meter(Protocol):
    """`joules` counts up from the first call; it must be called often enough for what it reads."""

    name: str

    def joules(self) -> float: ...


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What all meters together saw of a piece of work."""

    joules: float
    seconds: float
    source: str

    @property
    def watts(self) -> float:
        return self.joules / self.seconds


def metered(
    meters: Sequence[Meter], work: Callable[[], R], clock: Callable[[], float] = time.perf_counter
) -> tuple[R, Reading | None]:
    """What `work` returns, and its energy; None without meters. They are read in a thread of their own meanwhile.

    Raises EngineError for a meter that can no longer be read.
    """
    if not meters:
        return work(), None
    done = threading.Event()

    def watch() -> None:
        # a meter that fails here fails at the end too, where it is said
        with contextlib.suppress(OSError):
            while not done.wait(TICK_SECONDS):
                _sum(meters)

    before, began = _sum(meters), clock()
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        result = work()
    finally:
        done.set()
        thread.join()
    names = ", ".join(meter.name for meter in meters)
    try:
        after, seconds = _sum(meters), clock() - began
    except OSError as error:
        raise EngineError("energy", f"`{names}` cannot be read any more ({error})") from error
    return result, Reading(joules=after - before, seconds=seconds, source=names)


def _sum(meters: Sequence[Meter]) -> float:
    return sum(meter.joules() for meter in meters)
