"""A fresh process that opens a variant, answers once, and reports when.

python -m edgetl.runtime.bench.first_answer < REQUEST.json > REPORT.json
"""

import os
import re
import sys
import time
from pathlib import Path

import msgspec

from edgetl.bundle import open_bundle
from edgetl.errors import EdgetlError
from edgetl.runtime.bench.coldstart import Start, Started
from edgetl.runtime.session import load, sample_feeds

QUERIES = 10
"""So many more are answered before memory is read."""


def main() -> None:
    """An engine may print to standard output, so that is turned to standard error before one is loaded."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as output:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        try:
            report = _answer(msgspec.json.decode(sys.stdin.buffer.read(), type=Start))
        except EdgetlError as error:
            sys.exit(error.message)
        output.write(msgspec.json.encode(report))


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
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE)
    except OSError:
        return None
    return 1024 * int(found.group(1)) if found else None


if __name__ == "__main__":
    main()
