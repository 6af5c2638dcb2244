"""The queue in front of an engine: what goes together, what is refused, and who is harmed by a failure."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest

from edgetl.runtime.serve.batching import Answer, Batcher, Limits
from edgetl.runtime.serve.refusals import Busy, TooLarge
from edgetl.types import Feeds, Outputs

WAIT_S = 20


class Engine:
    """Doubles its numbers; waits for `gate`; refuses a batch with a negative number in it. Keeps the batch sizes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def infer(self, feeds: Feeds) -> Outputs:
        assert self.gate.wait(WAIT_S)
        self.sizes.append(len(feeds["x"]))
        if (feeds["x"] < 0).any():
            raise ValueError("negative")
        return {"y": 2 * feeds["x"]}


def numbers(*values: float) -> Feeds:
    return {"x": np.array(values)[:, None]}


def joined(parts: Sequence[Feeds]) -> Feeds:
    return {"x": np.concatenate([part["x"] for part in parts])}


def with_batcher(limits: Limits, use: Callable[[Engine, Batcher], Awaitable[None]]) -> Engine:
    """Runs `use` in a loop of its own and closes the batcher after it."""
    engine = Engine()

    async def main() -> None:
        batcher = Batcher(engine.infer, joined, limits)
        try:
            await asyncio.wait_for(use(engine, batcher), WAIT_S)
        finally:
            engine.gate.set()
            await asyncio.to_thread(batcher.close)

    asyncio.run(main())
    return engine


async def submitted(batcher: Batcher, *requests: Feeds) -> list["asyncio.Task[Answer]"]:
    """Tasks whose requests are in the queue, in this order."""
    tasks = [asyncio.create_task(batcher.submit(each, len(each["x"]))) for each in requests]
    await asyncio.sleep(0)
    return tasks


async def occupied(engine: Engine, batcher: Batcher) -> "asyncio.Task[Answer]":
    """The one engine thread is held up by a request, so that what follows waits in the queue."""
    engine.gate.clear()
    (task,) = await submitted(batcher, numbers(0))
    while batcher._jobs.qsize():
        await asyncio.sleep(0.001)
    return task


def test_what_waits_together_is_answered_together_and_each_gets_its_own_rows() -> None:
    async def use(engine: Engine, batcher: Batcher) -> None:
        await occupied(engine, batcher)
        tasks = await submitted(batcher, numbers(1), numbers(2, 3), numbers(4))
        engine.gate.set()
        answers = [await task for task in tasks]
        assert [answer.outputs["y"].ravel().tolist() for answer in answers] == [[2], [4, 6], [8]]
        assert {answer.batch for answer in answers} == {4}
        assert all(answer.queued_s > 0 and answer.inference_s > 0 for answer in answers)

    assert with_batcher(Limits(max_batch=8), use).sizes == [1, 4]


def test_a_batch_is_never_larger_than_allowed_and_order_is_kept() -> None:
    async def use(engine: Engine, batcher: Batcher) -> None:
        await occupied(engine, batcher)
        tasks = await submitted(batcher, numbers(1, 1), numbers(2), numbers(3, 3), numbers(4, 4, 4, 4, 4), numbers(5))
        engine.gate.set()
        found = [(await task).outputs["y"].ravel().tolist() for task in tasks]
        assert found == [[2, 2], [4], [6, 6], [8] * 5, [10]]

    # the request of five is larger than a batch and goes alone
    assert with_batcher(Limits(max_batch=3), use).sizes == [1, 3, 2, 5, 1]


def test_the_first_of_a_batch_waits_for_others_no_longer_than_the_delay() -> None:
    async def use(engine: Engine, batcher: Batcher) -> None:
        tasks = await submitted(batcher, numbers(1))
        await asyncio.sleep(0.02)
        tasks += await submitted(batcher, numbers(2))
        assert [(await task).batch for task in tasks] == [2, 2]
        assert (await batcher.submit(numbers(3), 1)).batch == 1

    assert with_batcher(Limits(max_batch=2, max_delay_s=0.5), use).sizes == [2, 1]


def test_a_full_queue_refuses_at_once_and_recovers() -> None:
    async def use(engine: Engine, batcher: Batcher) -> None:
        first = await occupied(engine, batcher)
        waiting = await submitted(batcher, numbers(1), numbers(2))
        assert batcher.full
        with pytest.raises(Busy, match="queue is full"):
            await batcher.submit(numbers(3), 1)
        engine.gate.set()
        await asyncio.gather(first, *waiting)
        assert batcher.held == 0
        assert (await batcher.submit(numbers(4), 1)).outputs["y"] == 8

    with_batcher(Limits(queue=3), use)


def test_more_samples_than_the_queue_ever_holds_are_too_large() -> None:
    async def use(engine: Engine, batcher: Batcher) -> None:
        with pytest.raises(TooLarge, match="4 samples"):
            await batcher.submit(numbers(1, 2, 3, 4), 4)

    with_batcher(Limits(queue=3), use)


def test_a_late_answer_is_a_refusal_and_its_work_is_not_done_in_vain() -> None:
    async def use(engine: Engine, batcher: Batcher) -> None:
        first = await occupied(engine, batcher)
        (late,) = await submitted(batcher, numbers(1))
        for task in (first, late):
            with pytest.raises(Busy, match="no answer within"):
                await task
        assert batcher.held == 2, "what the engine has not let go of still counts"
        engine.gate.set()
        assert (await batcher.submit(numbers(2), 1)).outputs["y"] == 4
        assert batcher.held == 0

    assert with_batcher(Limits(timeout_s=0.2), use).sizes == [1, 1], "the late request was skipped"


def test_an_engine_failure_harms_its_own_batch_only() -> None:
    async def use(engine: Engine, batcher: Batcher) -> None:
        await occupied(engine, batcher)
        tasks = await submitted(batcher, numbers(1), numbers(-1), numbers(2), numbers(3))
        engine.gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in found] == [ValueError, ValueError, Answer, Answer]

    assert with_batcher(Limits(max_batch=2), use).sizes == [1, 2, 2]


def test_closing_answers_what_is_queued() -> None:
    async def main() -> list[float]:
        engine = Engine()
        batcher = Batcher(engine.infer, joined, Limits(workers=3, max_batch=2))
        tasks = await submitted(batcher, *(numbers(i) for i in range(20)))
        await asyncio.to_thread(batcher.close)
        return [float((await task).outputs["y"][0, 0]) for task in tasks]

    assert asyncio.run(asyncio.wait_for(main(), WAIT_S)) == [2.0 * i for i in range(20)]
