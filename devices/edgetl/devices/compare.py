"""How many times as long one subject takes as another: in turns, in several fresh processes."""

from pathlib import Path

import msgspec

from edgetl import plugins
from edgetl.bundle import Bundle, open_bundle
from edgetl.devices.check import skip_reason, subject
from edgetl.devices.launches import LaunchPlan, Subject, measure_launches
from edgetl.devices.profile import Profile
from edgetl.errors import ConfigError, DependencyError, suggest
from edgetl.machine import Machine, detect
from edgetl.manifest import VariantRecord
from edgetl.runtime.bench.noise import Noise, NoiseWatch
from edgetl.runtime.timing import Percentile, Ratio, percentile_interval, ratio
from edgetl.types import Array, Track, silent

Pair = tuple[Bundle, VariantRecord]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One subject, and the median of its queries over all launches, in ms with one-sided 95 % bounds."""

    subject: Subject
    p50_ms: Percentile


class CompareReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `bench --compare --json` prints. `ratio`: how many times as long `b` takes as `a`, one-sided 95 % bounds.

    Each subject answered launches × blocks × queries single queries to the engine alone.
    """

    bundle: str
    device: str
    a: Side
    b: Side
    ratio: Ratio
    plan: LaunchPlan
    noise: Noise
    machine: Machine | None = None


def compare(
    a: Pair, b: Pair, profile: Profile, plan: LaunchPlan, *, track: Track = silent
) -> tuple[CompareReport, Array]:
    """Measures both with the profile's options; also ms of each query, shape (2, launches, blocks, queries).

    Raises DependencyError when one cannot run here, EngineError when a launch fails.
    """
    for _, variant in (a, b):
        if reason := skip_reason(variant, profile):
            raise DependencyError(f"`{variant.id}` cannot be measured here", hint=reason.text)
    subjects = [subject(bundle, variant, profile) for bundle, variant in (a, b)]
    watch = NoiseWatch()
    times = measure_launches(subjects, plan, track)
    sides = [Side(subject=s, p50_ms=percentile_interval(t, 0.5)) for s, t in zip(subjects, times, strict=True)]
    report = CompareReport(
        bundle=str(a[0].path),
        device=profile.name,
        a=sides[0],
        b=sides[1],
        ratio=ratio(times[0], times[1]),
        plan=plan,
        noise=watch.stop(),
        machine=detect(),
    )
    return report, times


def find_subject(name: str, bundle: Bundle, like: VariantRecord | None = None) -> Pair:
    """A variant of `bundle`, the first one of an engine, another bundle, or PATH:VARIANT.

    Of an engine, one of the precision of `like` goes first; another bundle answers with its variant of the same name.
    Raises ConfigError for none of these, ArtefactError for a bundle or a variant that is not there.
    """
    named = {variant.id: variant for variant in bundle.manifest.variants}
    if name in named:
        return bundle, named[name]
    if name in plugins.ENGINES:
        return bundle, _of_engine(name, bundle, like)
    if (Path(name) / "manifest.json").is_file():
        if like is None:
            raise ConfigError(f"`{name}` has several variants", hint=f"name one: `{name}:VARIANT`")
        other = open_bundle(name)
        return other, other.variant(like.id)
    path, separator, variant = name.rpartition(":")
    if separator and path:
        other = open_bundle(path)
        return other, other.variant(variant)
    hint = suggest(name, [*named, *plugins.ENGINES])
    raise ConfigError(f"`{name}` is no variant, engine or bundle", hint=f"{hint}, or PATH, or PATH:VARIANT")


def _of_engine(engine: str, bundle: Bundle, like: VariantRecord | None) -> VariantRecord:
    found = [v for v in bundle.manifest.variants if v.engine == engine and v.status != "failed"]
    if not found:
        raise ConfigError(f"`{bundle.path}` has no variant for `{engine}` that passed its check", hint="name a variant")
    return next((v for v in found if like and v.precision == like.precision), found[0])
