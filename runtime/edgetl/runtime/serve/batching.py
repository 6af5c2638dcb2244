"""Dynamic batching: requests that wait at the same time go through the engine together; the queue is bounded.

Each engine thread takes the oldest request and what waits behind it, up to `max_batch` samples; with `max_delay_ms` it
waits so long for more. Without a delay batches form by themselves while the engine is busy.
Reference: Crankshaw et al., "Clipper: A Low-Latency Online Prediction Serving System", NSDI 2017, section 4.3.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from edgetl.runtime.serve.refusals import Busy, TooLarge
from edgetl.types import Feeds, Outputs

Infer = Callable[[Feeds], Outputs]
Join = Callable[[Sequence[Feeds]], Feeds]
Observe = Callable[[int, float], object]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """`queue` counts samples that wait and are computed; `timeout_s` runs from submission to answer."""

    workers: int = 1
    max_batch: int = 1
    max_delay_s: float = 0.0
    queue: int = 64
    timeout_s: float = 5.0


class Answer(NamedTuple):
    """The outputs of one request, and what it cost: seconds in the queue and in the engine, samples of its batch."""

    outputs: Outputs
    queued_s: float
    inference_s: float
    batch: int


class _Job(NamedTuple):
    feeds: Feeds
    samples: int
    since: float
    answer: "asyncio.Future[Answer]"


_NONE_YET = _Job({}, 0, 0.0, None)  # type: ignore[arg-type]  # only its identity counts


class Batcher:
    """The queue in front of one engine: `submit` belongs to the running event loop, the engine to its own threads.

    `join` makes one batch of several, padded to the longest where they differ; the rows stay in their order. `observe`
    is called in an engine thread after each batch, with its samples and its seconds in the engine.
    """

    def __init__(
        self, infer: Infer, join: Join, limits: Limits, observe: Observe = lambda samples, seconds: None
    ) -> None:
        self._infer, self._join, self._limits, self._observe = infer, join, limits, observe
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._held = 0
        self._threads = [
            threading.Thread(target=self._work, name=f"engine-{i}", daemon=True) for i in range(limits.workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def held(self) -> int:
        """Samples that wait or are being computed."""
        return self._held

    @property
    def full(self) -> bool:
        return self._held >= self._limits.queue

    async def submit(self, feeds: Feeds, count: int, spent_s: float = 0.0) -> Answer:
        """Waits for the answer to `count` samples; `spent_s` of `timeout_s` are gone already.

        Raises Busy at once when the queue is full and after `timeout_s` without an answer, TooLarge for more samples
        than the queue ever holds, and whatever the engine raised for this request's batch.
        """
        if count > self._limits.queue:
            raise TooLarge(f"{count} samples are more than the queue ever holds ({self._limits.queue})")
        if self._held + count > self._limits.queue:
            raise Busy(f"the queue is full: {self._held} samples wait")
        answer: asyncio.Future[Answer] = self._loop.create_future()
        late = self._loop.call_later(self._limits.timeout_s - spent_s, self._expire, answer)
        self._held += count
        self._jobs.put(_Job(feeds, count, time.perf_counter(), answer))
        try:
            return await answer
        finally:
            late.cancel()

    def _expire(self, answer: "asyncio.Future[Answer]") -> None:
        if not answer.done():
            answer.set_exception(Busy(f"no answer within {self._limits.timeout_s:g} s"))

    def close(self) -> None:
        """Ends the threads after what is queued; blocks until then."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        """An engine thread. A request that would make the batch too large begins the next one."""
        first = self._jobs.get()
        while first is not None:
            batch, following = self._gather(first)
            answers = self._answers([job for job in batch if not job.answer.done()])
            self._loop.call_soon_threadsafe(self._settle, answers, sum(job.samples for job in batch))
            first = self._jobs.get() if following is _NONE_YET else following

    def _gather(self, first: _Job) -> tuple[list[_Job], "_Job | None"]:
        """A batch, and what was taken out of the queue after it: a request, the end of all, or nothing yet."""
        batch, samples = [first], first.samples
        until = first.since + self._limits.max_delay_s
        while samples < self._limits.max_batch:
            left = until - time.perf_counter()
            try:
                job = self._jobs.get(timeout=left) if left > 0 else self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None or samples + job.samples > self._limits.max_batch:
                return batch, job
            batch.append(job)
            samples += job.samples
        return batch, _NONE_YET

    def _answers(self, batch: Sequence[_Job]) -> "list[tuple[asyncio.Future[Answer], Answer | Exception]]":
        """One engine call; its exception goes to the requests of this batch and to no others."""
        if not batch:
            return []
        began = time.perf_counter()
        counts = [job.samples for job in batch]
        try:
            outputs = self._infer(self._together([job.feeds for job in batch]))
        except Exception as error:  # noqa: BLE001  # raised again in whoever waits for the answer
            return [(job.answer, error) for job in batch]
        seconds = time.perf_counter() - began
        self._observe(sum(counts), seconds)
        parts = zip(batch, _apart(outputs, counts), strict=True)
        return [(job.answer, Answer(part, began - job.since, seconds, sum(counts))) for job, part in parts]

    def _together(self, feeds: Sequence[Feeds]) -> Feeds:
        return feeds[0] if len(feeds) == 1 else self._join(feeds)

    def _settle(self, answers: "Sequence[tuple[asyncio.Future[Answer], Answer | Exception]]", samples: int) -> None:
        self._held -= samples
        for future, answer in answers:
            if future.done():  # it was too late, or nobody waits any more
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def _apart(outputs: Outputs, counts: Sequence[int]) -> list[Outputs]:
    """The rows of each request; the batch is the first axis."""
    if len(counts) == 1:
        return [outputs]
    ends = np.cumsum(counts)
    return [
        {name: value[end - count : end] for name, value in outputs.items()}
        for count, end in zip(counts, ends, strict=True)
    ]
