"""What a variant takes and gives in a fresh process: resident memory, and samples a second when all are at hand."""

import sys
from collections.abc import Sequence

import msgspec

from edgetl.bundle import Bundle
from edgetl.devices.launches import TOO_LONG, Subject
from edgetl.errors import EngineError
from edgetl.manifest import VariantRecord
from edgetl.runtime.plan import own_plan
from edgetl.runtime.processes import ask
from edgetl.runtime.throughput import Load
from edgetl.types import Track, silent

COMMAND = (sys.executable, "-m", "edgetl.devices.capacity_launch")


class CapacityRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a launch reads: the subject, and the load its throughput is measured under, if it is."""

    subject: Subject
    load: Load | None = None


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What one launch found: resident bytes once it answered, None where the kernel does not say; samples a second."""

    resident_bytes: int | None
    per_second: float | None


def measure_capacity(
    subject: Subject,
    load: Load | None,
    launches: int,
    *,
    max_seconds: float = 600.0,
    track: Track = silent,
    command: Sequence[str] = COMMAND,
) -> list[Capacity]:
    """What each of so many launches found, one after the other. `load=None`: memory alone.

    Raises EngineError when one fails or takes longer than `max_seconds`.
    """
    request = msgspec.json.encode(CapacityRequest(subject=subject, load=load))
    return [
        _capacity(ask(command, request, name=f"launch {number + 1} of {launches}", seconds=max_seconds, hint=TOO_LONG))
        for number in track(range(launches), f"capacity of {subject.variant}", launches)
    ]


def _capacity(output: bytes) -> Capacity:
    try:
        return msgspec.json.decode(output, type=Capacity)
    except msgspec.MsgspecError as error:
        raise EngineError("capacity", f"wrote {len(output)} bytes that are no report") from error


def planned_callers(bundle: Bundle, variant: VariantRecord) -> int | None:
    """How many callers this machine's plan for throughput asks `variant` with, if it chose that one."""
    plan = own_plan(bundle)
    choice = plan.choice("throughput") if plan else None
    return choice.concurrency if choice and choice.variant == variant.id else None
