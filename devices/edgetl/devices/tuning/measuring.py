"""What one turn of a candidate costs, measured on sessions that stay open as long as memory allows."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import numpy as np

from edgetl.bundle import Bundle
from edgetl.devices.examine import joined_outputs
from edgetl.devices.judging import judging_of
from edgetl.devices.profile import Profile, Tolerance
from edgetl.devices.statistics import error_budget
from edgetl.devices.tuning.candidates import Candidate
from edgetl.machine import Machine
from edgetl.runtime import Session, load
from edgetl.runtime.bench import single_queries
from edgetl.runtime.interleave import SETTLE
from edgetl.runtime.throughput import Load, batches, throughput
from edgetl.types import Feeds, Outputs

LEAST = 5
"""So many queries of a turn at least have a median."""

FOOTPRINT = 8
"""An open session takes up to so many times the size of its files."""

SHARE = 4
"""One in so many bytes of memory is for open sessions."""


class Sessions:
    """The sessions of candidates, opened when first asked for; the one unused for longest closes when room is needed.

    What runs is verified at opening: another precision or provider than declared is an EngineError.
    """

    def __init__(self, bundle: Bundle, most: int) -> None:
        self._bundle, self._most = bundle, most
        self._open: dict[str, Session] = {}

    def get(self, candidate: Candidate) -> Session:
        """Candidates that differ only in how they are asked share a session."""
        key = Candidate(variant=candidate.variant, options=candidate.options).key
        session = self._open.pop(key, None)
        if session is None:
            while len(self._open) >= self._most:
                self._open.pop(next(iter(self._open))).close()
            session = load(self._bundle, variant=candidate.variant, options=candidate.options)
        self._open[key] = session
        return session

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def __enter__(self) -> "Sessions":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def room(bundle: Bundle, machine: Machine) -> int:
    """How many sessions may be open at once."""
    largest = max(bundle.size_bytes(variant) for variant in bundle.manifest.variants)
    return max(2, machine.memory_bytes // (SHARE * FOOTPRINT * max(largest, 1)))


class Turns:
    """The costs of the race: `latency` and `throughput` take a candidate, a turn's number and its seconds."""

    def __init__(self, sessions: Sessions, bundle: Bundle, clock: Callable[[], float] = time.perf_counter) -> None:
        self._sessions, self._bundle, self._clock = sessions, bundle, clock
        self._batches: dict[int, list[Feeds]] = {}
        self._single = single_queries(bundle)

    def latency(self, candidate: Candidate, number: int, seconds: float) -> float:
        """The median of one-sample queries in ms, the first ones left out."""
        session, queries, clock = self._sessions.get(candidate), self._single, self._clock
        for i in range(SETTLE if number else SETTLE + LEAST):
            session.infer(queries[i % len(queries)])
        times: list[float] = []
        began = clock()
        while len(times) < LEAST or clock() - began < seconds:
            start = clock()
            session.infer(queries[len(times) % len(queries)])
            times.append(clock() - start)
        return 1000 * float(np.median(times))

    def throughput(self, candidate: Candidate, number: int, seconds: float) -> float:
        """What a sample costs in ms when all callers are busy."""
        session = self._sessions.get(candidate)
        load = Load(
            batch=candidate.batch, concurrency=candidate.concurrency, min_seconds=seconds, max_seconds=4 * seconds
        )
        if candidate.batch not in self._batches:
            self._batches[candidate.batch] = batches(self._bundle, candidate.batch)
        return 1000 / throughput(session, load, self._batches[candidate.batch], self._clock).per_second


def right_answers(session: Session, candidate: Candidate, profile: Profile) -> bool:
    """Whether the golden set, asked as the candidate would (its batches, its callers), is answered within tolerance.

    True when the bundle carries none: then nothing can be said.
    """
    bundle = session.bundle
    if bundle.manifest.golden.kind == "none":
        return True
    golden = bundle.golden()
    tolerance: Tolerance = getattr(profile.numerics, session.variant.precision)
    alpha = error_budget(profile.accuracy.confidence)
    numerics = judging_of(session.task).numerics
    return numerics(_answers(session, candidate), golden, tolerance, session.task, alpha)[1].verdict != "fail"


def _answers(session: Session, candidate: Candidate) -> Outputs:
    """The answers to the golden set, a row for each sample; the last batch is filled up."""
    golden, size = session.bundle.golden(), candidate.batch
    samples = session.bundle.manifest.golden.samples
    feeds = [session.task.take(golden, np.arange(i, i + size) % samples) for i in range(0, samples, size)]
    with ThreadPoolExecutor(candidate.concurrency) as callers:
        outputs = joined_outputs(list(callers.map(session.infer, feeds)))
    return {name: array[:samples] for name, array in outputs.items()}
