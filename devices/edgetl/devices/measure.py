"""Benches the variants of a bundle with a profile's options."""

from collections.abc import Sequence

import msgspec

from edgetl.bundle import Bundle
from edgetl.devices.check import skip_reason
from edgetl.devices.profile import Profile
from edgetl.errors import DependencyError
from edgetl.runtime import load
from edgetl.runtime.bench import BenchOptions, VariantBench
from edgetl.runtime.bench import bench as bench_session
from edgetl.types import Track, silent


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `bench --json` prints; a variant that cannot run here is listed in `skipped` with the reason."""

    bundle: str
    device: str
    variants: tuple[VariantBench, ...]
    skipped: dict[str, str] = {}


def bench(
    bundle: Bundle,
    profile: Profile,
    options: BenchOptions,
    *,
    variants: Sequence[str] | None = None,
    track: Track = silent,
) -> BenchReport:
    """Measures `variants` (default: all) one after the other. Raises DependencyError when none can run here."""
    chosen = [bundle.variant(name) for name in variants] if variants else list(bundle.manifest.variants)
    reasons = {variant.id: skip_reason(variant, profile) for variant in chosen}
    skipped = {name: reason.text for name, reason in reasons.items() if reason is not None}
    runnable = [variant for variant in chosen if variant.id not in skipped]
    if not runnable:
        raise DependencyError("nothing can be measured here", hint="; ".join(sorted(set(skipped.values()))))
    measured = []
    for variant in track(runnable, "bench", len(runnable)):
        with load(bundle, variant=variant.id, options=profile.options(variant.engine)) as session:
            measured.append(bench_session(session, options))
    return BenchReport(bundle=str(bundle.path), device=profile.name, variants=tuple(measured), skipped=skipped)
