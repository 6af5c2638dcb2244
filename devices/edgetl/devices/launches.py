"""Spreads measuring over several fresh processes, because one process can be lucky with its memory and threads.

Two launches of the same program differ by more than their queries do (Kalibera & Jones, "Rigorous Benchmarking in
Reasonable Time", ISMM 2013; Mytkowicz et al., "Producing Wrong Data Without Doing Anything Obviously Wrong!",
ASPLOS 2009), so a launch, not a query, is the unit that an interval may count.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np

from edgetl.bundle import open_bundle
from edgetl.errors import EngineError
from edgetl.runtime.processes import ask
from edgetl.types import Array, Option, Track, silent

COMMAND = (sys.executable, "-m", "edgetl.devices.launch")

TOO_LONG = "measure fewer queries, or allow more `max_seconds`"
"""What to do about a launch that does not end."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured: a variant of the bundle at that path, opened with these options, `batch` samples a query.

    `manifest` is `Bundle.digest`: a launch opens no other bundle than the one that was verified here.
    """

    bundle: str
    variant: str
    manifest: str = ""
    options: dict[str, Option] = {}
    batch: Annotated[int, msgspec.Meta(ge=1)] = 1


class LaunchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured: every subject answers launches × blocks × queries timed queries.

    More launches tell more than more queries; an even number lets each of two subjects begin equally often.
    A launch that has not ended after `max_seconds` is ended.
    """

    launches: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8
    blocks: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 8
    queries: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 10
    warmup: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 5
    max_seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 600.0


class LaunchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a launch reads from its standard input. `launch` counts from 0."""

    subjects: tuple[Subject, ...]
    plan: LaunchPlan
    launch: int


def measure_launches(
    subjects: Sequence[Subject], plan: LaunchPlan, track: Track = silent, *, command: Sequence[str] = COMMAND
) -> Array:
    """Milliseconds of each query, shape (subjects, launches, blocks, queries).

    All subjects are open in each launch and take turns there. `command` is what is launched.
    Raises ArtefactError for a bundle or a variant that is not there, EngineError when a launch fails.
    """
    for subject in subjects:
        open_bundle(subject.bundle, digest=subject.manifest).variant(subject.variant)
    requests = [LaunchRequest(subjects=tuple(subjects), plan=plan, launch=i) for i in range(plan.launches)]
    return np.stack([_launch(each, command) for each in track(requests, "launches", len(requests))], axis=1)


def _launch(request: LaunchRequest, command: Sequence[str]) -> Array:
    """Times of one launch, shape (subjects, blocks, queries)."""
    name, seconds = _name(request), request.plan.max_seconds
    return _times(request, ask(command, msgspec.json.encode(request), name=name, seconds=seconds, hint=TOO_LONG))


def _times(request: LaunchRequest, output: bytes) -> Array:
    expected = (len(request.subjects), request.plan.blocks, request.plan.queries)
    try:
        times = np.array(msgspec.json.decode(output, type=list[list[list[float]]]))
    except (msgspec.MsgspecError, ValueError) as error:
        raise EngineError(_name(request), f"wrote {len(output)} bytes that are no times") from error
    if times.shape != expected:
        raise EngineError(_name(request), f"wrote times of shape {times.shape}, not {expected}")
    return times


def _name(request: LaunchRequest) -> str:
    return f"launch {request.launch + 1} of {request.plan.launches}"
