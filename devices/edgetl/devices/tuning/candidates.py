"""What is worth measuring: for each variant the engine options, batch sizes and numbers of callers that may win."""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import zip_longest
from pathlib import Path

import msgspec

from edgetl.devices.profile import Profile
from edgetl.machine import Machine
from edgetl.manifest import VariantRecord
from edgetl.types import Option

FEW = 4
"""A small network may not gain from more threads than this, however many cores there are."""

BATCHES = (1, 4, 8, 16)
TOPOLOGY = Path("/sys/devices/system/cpu")


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A variant, the options it is opened with, and how it is asked: samples a batch, callers at a time."""

    variant: str
    options: dict[str, Option] = {}
    batch: int = 1
    concurrency: int = 1

    @property
    def key(self) -> str:
        """Equal for equal candidates."""
        return msgspec.json.encode(self, order="deterministic").decode()


def latency_candidates(
    variants: Iterable[VariantRecord], profile: Profile, machine: Machine, physical: int
) -> list[Candidate]:
    """One sample after the other: numbers of threads, and graphs compiled for one sample alone.

    `physical`: cores, without counting their second hardware threads.
    """
    return _in_turns(
        [_own(variant, profile, partial(_latency, machine=machine, physical=physical)) for variant in variants]
    )


def throughput_candidates(variants: Iterable[VariantRecord], profile: Profile, machine: Machine) -> list[Candidate]:
    """Many samples at hand: streams, batch sizes, and how many callers keep them busy."""
    return _in_turns([_own(variant, profile, partial(_throughput, cores=machine.cores)) for variant in variants])


def physical_cores(machine: Machine) -> int:
    """Cores this process may use, two hardware threads of one core counted once; all usable ones if unknown."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    files = [TOPOLOGY / f"cpu{number}" / "topology" / "thread_siblings_list" for number in usable]
    siblings = {path.read_text() for path in files if path.is_file()}
    return min(len(siblings), machine.cores) or machine.cores


Ask = tuple[Mapping[str, Option], int, int]
"""Options, batch and callers that an engine is to be tried with."""


def _latency(engine: str, fixed: Mapping[str, Option], machine: Machine, physical: int) -> list[Ask]:
    threads = sorted({1, min(FEW, machine.cores), physical, machine.cores}, reverse=True)
    if engine == "openvino" and _on_processor(engine, fixed):
        shapes: list[dict[str, Option]] = [{"batch": 1}, {}]
        return [({"threads": count, **shape}, 1, 1) for shape in shapes for count in threads]
    if engine == "openvino":
        return [({"batch": 1}, 1, 1), ({}, 1, 1)]
    if engine == "onnxruntime" and _on_processor(engine, fixed):
        return [({"threads": count}, 1, 1) for count in threads]
    return [({}, 1, 1)]


def _throughput(engine: str, fixed: Mapping[str, Option], cores: int) -> list[Ask]:
    if engine == "openvino":
        # the engine's own number of streams is about one a core; twice as many callers keep each busy
        streams = [0, cores] if _on_processor(engine, fixed) and cores > 1 else [0]
        single: list[Ask] = [(_streams(count, 1), 1, callers) for callers in (cores, 2 * cores) for count in streams]
        return single + [(_streams(0, batch), batch, cores) for batch in BATCHES[1:]]
    if engine == "onnxruntime" and _on_processor(engine, fixed):
        apart: list[Ask] = [({"threads": 1}, batch, cores) for batch in BATCHES]
        return [*apart, ({"threads": cores}, BATCHES[-1], 1)]
    return [({}, batch, callers) for batch in reversed(BATCHES) for callers in (1, 2)]


def _streams(count: int, batch: int) -> dict[str, Option]:
    chosen: dict[str, Option] = {"hint": "throughput", "batch": batch}
    return chosen | ({"streams": count} if count else {})


def _on_processor(engine: str, fixed: Mapping[str, Option]) -> bool:
    """Whether the options leave the engine on the processor, where threads count."""
    return fixed.get("device", "CPU") == "CPU" if engine == "openvino" else fixed.get("provider", "cpu") == "cpu"


def _own(variant: VariantRecord, profile: Profile, space: Callable[..., list[Ask]]) -> list[Candidate]:
    """The candidates of one variant; what the profile fixes stays fixed, and then some are the same."""
    fixed = profile.options(variant.engine) or {}
    made = [
        Candidate(variant=variant.id, options={**options, **fixed}, batch=batch, concurrency=callers)
        for options, batch, callers in space(variant.engine, fixed)
    ]
    return list({candidate.key: candidate for candidate in made}.values())


def _in_turns(groups: list[list[Candidate]]) -> list[Candidate]:
    """The first of each variant, then the second of each: a search that is cut short has seen every variant."""
    return [candidate for row in zip_longest(*groups) for candidate in row if candidate is not None]
