"""One launch: a fresh process that opens a variant, answers, and says what memory that takes and what it gives.

python -m edgetl.devices.capacity_launch < REQUEST.json > CAPACITY.json
"""

from pathlib import Path

import msgspec

from edgetl.bundle import open_bundle
from edgetl.devices.capacity import Capacity, CapacityRequest
from edgetl.procfs import memory_bytes
from edgetl.runtime import Session
from edgetl.runtime.processes import answer
from edgetl.runtime.session import sample_feeds
from edgetl.runtime.throughput import throughput

QUERIES = 10
"""So many are answered before memory is read."""


def main() -> None:
    """Answers the request on standard input."""
    answer(lambda content: msgspec.json.encode(_measure(msgspec.json.decode(content, type=CapacityRequest))))


def _measure(request: CapacityRequest) -> Capacity:
    subject = request.subject
    bundle = open_bundle(subject.bundle, digest=subject.manifest)
    feeds = sample_feeds(bundle, subject.batch)
    with Session(bundle, bundle.variant(subject.variant), subject.options) as session:
        for _ in range(QUERIES):
            session.infer(feeds)
        resident = resident_bytes(Path("/proc/self/status"))
        found = throughput(session, request.load) if request.load else None
    return Capacity(resident_bytes=resident, per_second=found.per_second if found else None)


def resident_bytes(status: Path) -> int | None:
    """`VmRSS`: anonymous pages, files mapped (libraries, perhaps the model) and shared memory; not a GPU's own memory.

    Linux, Documentation/filesystems/proc.rst. A page that other processes map too counts whole.
    """
    return memory_bytes(status, "VmRSS")


if __name__ == "__main__":
    main()
