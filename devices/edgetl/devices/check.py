"""Judges the variants of a bundle on this machine, layer by layer, with one error budget for all questions."""

from collections.abc import Mapping, Sequence

from msgspec import structs

from edgetl import plugins
from edgetl.bundle import Bundle
from edgetl.devices.budgets import Place, enough, measured_latencies, with_latency, with_resources
from edgetl.devices.evidence import NewData, Trial, refuse_unfit, with_new
from edgetl.devices.examine import Examined, Golden, examine, read_golden
from edgetl.devices.launches import LaunchPlan, Subject
from edgetl.devices.layers.latency import query_size
from edgetl.devices.layers.task import task_layer
from edgetl.devices.matching import differences
from edgetl.devices.measures import fitted, measure_of
from edgetl.devices.preparing import Preprocess
from edgetl.devices.profile import Profile
from edgetl.devices.statistics import error_budget
from edgetl.devices.verdict import Reason, Report, VariantReport, settle, worst
from edgetl.errors import EngineError
from edgetl.machine import detect
from edgetl.manifest import VariantRecord
from edgetl.runtime.bench import BenchOptions
from edgetl.runtime.plan import planned_variants
from edgetl.runtime.precision import lacking_kernels
from edgetl.types import Array, Track, silent

LATENCY = BenchOptions(warmup_seconds=1.0, min_seconds=1.0, min_queries=200, max_seconds=10.0)


def check(
    bundle: Bundle,
    profile: Profile,
    *,
    variants: Sequence[str] | None = None,
    latency: BenchOptions | None = LATENCY,
    new: NewData | None = None,
    preprocess: Preprocess | None = None,
    track: Track = silent,
) -> Report:
    """Judges `variants` (default: the device's plan, else all) with the profile's options, tolerances and bounds.

    A variant is skipped when its engine is not installed or this is not the profile's hardware; the report's
    verdict is `skipped` when that leaves nothing. `latency=None` measures no time and no memory and
    leaves the profile's budgets alone. `new`: labelled or unlabelled images that help to decide the task layer.
    `preprocess`: the device's own preparation of encoded images, to be judged in place of edgetl's.
    Raises ArtefactError for a damaged bundle, DataError for a bad image, ConfigError and DependencyError.
    """
    profile = fitted(profile, bundle.manifest.task)
    budgeted = profile.latency.asked and latency is not None
    _, reports = judge(
        bundle, profile, variants=variants, new=new, preprocess=preprocess, track=track,
        latency=None if budgeted else latency,
    )  # fmt: skip
    if latency is not None:
        place = Place(bundle=bundle, profile=profile, plan=LaunchPlan(), track=track)
        reports = _with_budgets(place, reports)
    settled = settle(reports, error_budget(profile.accuracy.confidence))
    verdict = worst(report.verdict for report in settled)
    return Report(
        bundle=str(bundle.path),
        device=profile.name,
        verdict=verdict,
        variants=settled,
        machine=detect(),
        confidence=profile.accuracy.confidence,
    )


def judge(
    bundle: Bundle,
    profile: Profile,
    *,
    variants: Sequence[str] | None = None,
    latency: BenchOptions | None = None,
    new: NewData | None = None,
    preprocess: Preprocess | None = None,
    asked_besides: int = 0,
    track: Track = silent,
) -> tuple[list[Examined], list[VariantReport]]:
    """`check` before the error budget is applied: what was examined, and a report for every variant chosen.

    `asked_besides`: so many statistical questions the caller has of each variant that no profile asks.
    """
    profile = fitted(profile, bundle.manifest.task)
    chosen = choose(bundle, profile, variants)
    if new is not None:
        refuse_unfit(bundle, profile, new)
    bundle.verify()
    skips = {variant.id: skip_reason(variant, profile) for variant in chosen}
    runnable = [variant for variant in chosen if skips[variant.id] is None]
    golden = read_golden(bundle, preprocess) if runnable else Golden(arrays={}, input=None)
    examined = [
        examine(bundle, variant, profile, golden, latency) for variant in track(runnable, "check", len(runnable))
    ]
    if new is not None:
        trial = Trial(
            bundle=bundle, profile=profile, golden=golden, stand_ins=_stand_ins(bundle, profile, chosen),
            questions=len(examined) * (_asked(profile) + asked_besides),
        )  # fmt: skip
        examined = with_new(trial, examined, new, track)
    judged = {each.variant.id: _judge_task(each, profile, bundle) for each in examined}
    reports = [judged.get(variant.id) or _skipped(variant, skips[variant.id]) for variant in chosen]
    sizes = [bundle.size_bytes(variant) for variant in chosen]
    return examined, [structs.replace(each, size_bytes=size) for each, size in zip(reports, sizes, strict=True)]


def _with_budgets(place: Place, reports: Sequence[VariantReport]) -> list[VariantReport]:
    """The latency of several launches, all variants that open in turns, and the other budgets, judged on intervals."""
    subjects = {
        report.id: subject(place.bundle, place.bundle.variant(report.id), place.profile)
        for report in reports
        if report.facts is not None
    }
    budget = place.profile.latency
    measured: Mapping[str, Array | EngineError] = {}
    if subjects and budget.asked:
        measured = measured_latencies(subjects, enough(place.plan, budget, place.alpha), place.track)
    timed = [with_latency(each, measured[each.id], place) if each.id in measured else each for each in reports]
    return [with_resources(each, subjects[each.id], place) if each.id in subjects else each for each in timed]


def subject(bundle: Bundle, variant: VariantRecord, profile: Profile) -> Subject:
    """What a launch measures: queries of the profile's scenario."""
    return Subject(
        bundle=str(bundle.path),
        variant=variant.id,
        manifest=bundle.digest,
        options=profile.options(variant.engine) or {},
        batch=query_size(profile.latency),
    )


def choose(bundle: Bundle, profile: Profile, variants: Sequence[str] | None) -> list[VariantRecord]:
    """The variants named, else those of the device's plan, else all."""
    if variants is not None:
        return [bundle.variant(name) for name in dict.fromkeys(variants)]
    planned = planned_variants(bundle, profile.name)
    return [bundle.variant(name) for name in planned] if planned else list(bundle.manifest.variants)


def skip_reason(variant: VariantRecord, profile: Profile) -> Reason | None:
    """Why `variant` cannot be judged here, or None."""
    elsewhere = differences(profile, detect())
    if elsewhere:
        return Reason(layer="hardware", verdict="skipped", text=f"this is no {profile.title}: {'; '.join(elsewhere)}")
    if profile.options(variant.engine) is None:
        return Reason(layer="hardware", verdict="skipped", text=f"{profile.title} does not run {variant.engine}")
    options = {**(profile.options(variant.engine) or {}), **variant.options}
    if lack := lacking_kernels(variant.engine, variant.precision, options, detect()):
        return Reason(layer="hardware", verdict="skipped", text=lack)
    if variant.engine not in plugins.ENGINES:
        return Reason(layer="engine", verdict="skipped", text=f"this edgetl does not know {variant.engine}")
    plugin = plugins.ENGINES[variant.engine]
    if absent := plugins.missing(plugin):
        text = f"`{'`, `'.join(absent)}` is not installed; install `{plugin.extra}`"
        return Reason(layer="engine", verdict="skipped", text=text)
    return None


def _stand_ins(bundle: Bundle, profile: Profile, chosen: Sequence[VariantRecord]) -> tuple[VariantRecord, ...]:
    """The fp32 variants that are not judged but run here: on new images one may answer for torch."""
    fp32 = [each for each in bundle.manifest.variants if each.precision == "fp32" and each not in chosen]
    return tuple(variant for variant in fp32 if skip_reason(variant, profile) is None)


def _asked(profile: Profile) -> int:
    """How many statistical questions a profile asks of a variant: the drop, and one for each bound it sets."""
    budget = profile.latency
    bounds = (budget.p50_ms, budget.p99_ms, budget.per_second, budget.cold_start_ms)
    return 1 + sum(bound is not None for bound in (profile.accuracy.max_class_drop_points, *bounds))


def _skipped(variant: VariantRecord, reason: Reason | None) -> VariantReport:
    return VariantReport(id=variant.id, verdict="skipped", reasons=(reason,) if reason else ())


def _judge_task(examined: Examined, profile: Profile, bundle: Bundle) -> VariantReport:
    report, evidence = examined.report, examined.evidence
    if evidence is None:
        return report
    labels = bundle.manifest.task.labels
    metric, interval, reasons = task_layer(evidence, profile.accuracy, labels, exempt=examined.exempt)
    alpha = error_budget(profile.accuracy.confidence)
    reports_of = measure_of(profile.accuracy).class_reports
    classes = reports_of(evidence.answers, labels, alpha, sequential=evidence.sequential)
    return structs.replace(
        report, metric=metric, drop_points=interval, classes=classes, reasons=(*report.reasons, *reasons)
    )  # fmt: skip
