"""One launch: a fresh process that opens the subjects, times them in turns and writes the times to its output.

python -m edgetl.devices.launch < REQUEST.json > TIMES.json
"""

from collections.abc import Callable
from contextlib import ExitStack

import msgspec
import numpy as np

from edgetl.bundle import Bundle, open_bundle
from edgetl.devices.launches import LaunchRequest, Subject
from edgetl.runtime import Session
from edgetl.runtime.interleave import interleave
from edgetl.runtime.processes import answer
from edgetl.runtime.throughput import batches
from edgetl.types import Array

Call = Callable[[int], object]


def main(alter: Callable[[list[Call]], list[Call]] = list) -> None:
    """Answers the request on standard input; `alter` may wrap the subjects' calls, which come in request order."""

    def work(content: bytes) -> bytes:
        times = measure(msgspec.json.decode(content, type=LaunchRequest), alter)
        return msgspec.json.encode(times.tolist())

    answer(work)


def measure(request: LaunchRequest, alter: Callable[[list[Call]], list[Call]]) -> Array:
    """Times of shape (subjects, blocks, queries). Who is opened and timed first changes from launch to launch."""
    count, plan = len(request.subjects), request.plan
    order = [(request.launch + place) % count for place in range(count)]
    bundles = {each.bundle: open_bundle(each.bundle, digest=each.manifest) for each in request.subjects}
    with ExitStack() as stack:
        opened = {number: _open(request.subjects[number], bundles, stack) for number in order}
        calls = alter([opened[number] for number in range(count)])
        turns = [calls[number] for number in order]
        measured = interleave(turns, blocks=plan.blocks, queries=plan.queries, warmup=plan.warmup)
    return measured[np.argsort(order)]


def _open(subject: Subject, bundles: dict[str, Bundle], stack: ExitStack) -> Call:
    """A call that runs the i-th query, of the subject's `batch` samples. The session closes with `stack`."""
    bundle = bundles[subject.bundle]
    # not load(): what is timed is what runs, and `check` judges whether it is what was declared
    session = stack.enter_context(Session(bundle, bundle.variant(subject.variant), subject.options))
    queries = batches(bundle, subject.batch)
    return lambda number: session.infer(queries[number % len(queries)])


if __name__ == "__main__":
    main()
