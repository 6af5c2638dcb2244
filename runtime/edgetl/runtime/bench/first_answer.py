"""A fresh process that opens a variant, answers once, and reports when.

python -m edgetl.runtime.bench.first_answer < REQUEST.json > REPORT.json
"""

import time
from pathlib import Path

import msgspec

from edgetl.bundle import open_bundle
from edgetl.procfs import memory_bytes
from edgetl.runtime.bench.coldstart import Start, Started
from edgetl.runtime.processes import answer
from edgetl.runtime.session import load, sample_feeds

QUERIES = 10
"""So many more are answered before memory is read."""


def main() -> None:
    """Answers the request on standard input."""
    answer(lambda content: msgspec.json.encode(_answer(msgspec.json.decode(content, type=Start))))


def _answer(start: Start) -> Started:
    feeds = sample_feeds(open_bundle(start.bundle), 1)
    began = time.monotonic()
    with load(
        open_bundle(start.bundle, digest=start.manifest), variant=start.variant, options=start.options
    ) as session:
        opened = time.monotonic()
        session.infer(feeds)
        answered = time.monotonic()
        for _ in range(QUERIES):
            session.infer(feeds)
        peak = peak_bytes(Path("/proc/self/status"))
    return Started(answered=answered, load_seconds=opened - began, infer_seconds=answered - opened, peak_bytes=peak)


def peak_bytes(status: Path) -> int | None:
    """`VmHWM`, as getrusage's maximum counts what the parent had before it started us."""
    return memory_bytes(status, "VmHWM")


if __name__ == "__main__":
    main()
