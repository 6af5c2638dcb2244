"""Benches the variants of a bundle with a profile's options."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edgetl.bundle import Bundle
from edgetl.devices.capacity import planned_callers
from edgetl.devices.check import skip_reason
from edgetl.devices.profile import Profile
from edgetl.errors import DependencyError
from edgetl.machine import Machine, detect
from edgetl.runtime import load
from edgetl.runtime.bench import BenchOptions, VariantBench
from edgetl.runtime.bench import bench as bench_session
from edgetl.runtime.bench.inputs import read_inputs
from edgetl.types import Array, Track, silent


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `bench --json` prints; a variant that cannot run here is listed in `skipped` with the reason."""

    bundle: str
    device: str
    variants: tuple[VariantBench, ...]
    skipped: dict[str, str] = {}
    options: BenchOptions | None = None
    machine: Machine | None = None


def bench(
    bundle: Bundle,
    profile: Profile,
    options: BenchOptions,
    *,
    variants: Sequence[str] | None = None,
    concurrency: int | None = None,
    folder: Path | None = None,
    keep: Callable[[str, Array], None] = lambda name, samples: None,
    track: Track = silent,
) -> BenchReport:
    """Measures `variants` (default: all) one after the other.

    `concurrency`: callers at once in offline and server, before what this machine's plan says of the variant.
    `folder`: images to ask, instead of the golden set. `keep` gets raw samples by name, in ms.
    Raises DependencyError when none can run here, DataError for a folder without readable images.
    """
    chosen = [bundle.variant(name) for name in variants] if variants else list(bundle.manifest.variants)
    reasons = {variant.id: skip_reason(variant, profile) for variant in chosen}
    skipped = {name: reason.text for name, reason in reasons.items() if reason is not None}
    runnable = [variant for variant in chosen if variant.id not in skipped]
    if not runnable:
        raise DependencyError("nothing can be measured here", hint="; ".join(sorted(set(skipped.values()))))
    inputs = read_inputs(bundle, folder)
    measured = []
    for variant in track(runnable, "bench", len(runnable)):
        opened = profile.options(variant.engine)
        callers = concurrency or planned_callers(bundle, variant) or options.concurrency
        asked = msgspec.structs.replace(options, concurrency=callers)
        with load(bundle, variant=variant.id, options=opened) as session:
            measured.append(bench_session(session, asked, inputs=inputs, opened_with=opened, keep=keep))
    return BenchReport(
        bundle=str(bundle.path), device=profile.name, variants=tuple(measured), skipped=skipped, options=options,
        machine=detect(),
    )  # fmt: skip
