"""Judges the variants of a bundle on this machine, layer by layer, with one error budget for all questions."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from msgspec import structs

from edgetl import plugins
from edgetl.bundle import Bundle
from edgetl.devices.answers import Answers
from edgetl.devices.budgets import Place, enough, measured_latencies, with_latency, with_resources
from edgetl.devices.evidence import Decided, NewData, labelled_answers, unlabelled_changes
from edgetl.devices.examine import Examined, Golden, examine, read_golden
from edgetl.devices.launches import LaunchPlan, Subject
from edgetl.devices.layers.classes import class_reports
from edgetl.devices.layers.input import Preprocess
from edgetl.devices.layers.latency import query_size
from edgetl.devices.layers.task import Evidence, measure, pass_share, task_layer
from edgetl.devices.matching import differences
from edgetl.devices.profile import Profile
from edgetl.devices.statistics import error_budget
from edgetl.devices.verdict import Reason, Report, VariantReport, settle, worst
from edgetl.errors import ConfigError, EngineError
from edgetl.machine import detect
from edgetl.manifest import VariantRecord
from edgetl.runtime import Session
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
    track: Track = silent,
) -> tuple[list[Examined], list[VariantReport]]:
    """`check` before the error budget is applied: what was examined, and a report for every variant chosen."""
    chosen = choose(bundle, profile, variants)
    if new is not None:
        _refuse(bundle, profile, new)
    bundle.verify()
    skips = {variant.id: skip_reason(variant, profile) for variant in chosen}
    runnable = [variant for variant in chosen if skips[variant.id] is None]
    golden = read_golden(bundle, preprocess) if runnable else Golden(arrays={}, input=None)
    examined = [
        examine(bundle, variant, profile, golden, latency) for variant in track(runnable, "check", len(runnable))
    ]
    if new is not None:
        examined = _with_new(bundle, profile, examined, golden, new, track)
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


def _skipped(variant: VariantRecord, reason: Reason | None) -> VariantReport:
    return VariantReport(id=variant.id, verdict="skipped", reasons=(reason,) if reason else ())


def _judge_task(examined: Examined, profile: Profile, bundle: Bundle) -> VariantReport:
    report, evidence = examined.report, examined.evidence
    if evidence is None:
        return report
    labels = bundle.manifest.task.labels
    metric, interval, reasons = task_layer(evidence, profile.accuracy, labels, exempt=examined.exempt)
    classes = class_reports(evidence.answers, labels, error_budget(profile.accuracy.confidence))
    return structs.replace(
        report, metric=metric, drop_points=interval, classes=classes, reasons=(*report.reasons, *reasons)
    )  # fmt: skip


def _with_new(
    bundle: Bundle, profile: Profile, examined: list[Examined], golden: Golden, new: NewData, track: Track
) -> list[Examined]:
    """Adds what the new images show to the evidence of every variant that is still in question."""
    open_questions = {each.variant.id: each.evidence for each in examined if each.evidence and not each.exempt}
    reference = _reference(bundle, profile, examined, golden)
    if reference is None:
        note = "no fp32 variant answers as torch does here, so the new images are not used: "
        return [_noted(each, note) for each in examined]
    with ExitStack() as stack:

        def opened(variant: VariantRecord) -> Session:
            return stack.enter_context(Session(bundle, variant, profile.options(variant.engine) or {}))

        torch_like = opened(reference)
        sessions = {name: opened(bundle.variant(name)) for name in open_questions}
        decided = _stop(open_questions, profile, new) if new.sequential else None
        labelled = labelled_answers(torch_like, sessions, new.labelled, decided, track) if new.labelled else {}
        changed = unlabelled_changes(torch_like, sessions, new.unlabelled, track) if new.unlabelled else {}
    return [_extended(each, labelled, changed, sequential=new.sequential) for each in examined]


def _refuse(bundle: Bundle, profile: Profile, new: NewData) -> None:
    """New images need a golden set to know the reference by, and some ways of using them fit top-1 only."""
    if bundle.manifest.golden.kind == "none":
        raise ConfigError("a bundle without golden set cannot judge new images", hint="export it with one")
    if profile.accuracy.metric != "top1" and (new.sequential or new.unlabelled):
        what = "--sequential" if new.sequential else "--unlabelled"
        raise ConfigError(f"`{what}` decides top1, not {profile.accuracy.metric}", hint="leave it out")


def _noted(examined: Examined, note: str) -> Examined:
    if examined.evidence is None:
        return examined
    return structs.replace(examined, evidence=structs.replace(examined.evidence, note=examined.evidence.note + note))


def _stop(evidence: Mapping[str, Evidence], profile: Profile, new: NewData) -> Decided:
    """When a stream has decided about a variant; the variants share the budget for fails equally."""
    alpha = error_budget(profile.accuracy.confidence)

    def decided(name: str, answers: Answers) -> bool:
        joined = evidence[name].answers.with_new(answers)
        seen = Evidence(answers=joined, sequential=True, unlabelled=(0, 0) if new.unlabelled else None)
        drop = measure(seen, profile.accuracy)
        return drop.p_within <= pass_share(seen, alpha) or drop.p_above <= alpha / len(evidence)

    return decided


def _extended(
    examined: Examined, labelled: Mapping[str, Answers], changed: Mapping[str, tuple[int, int]], *, sequential: bool
) -> Examined:
    name, evidence = examined.variant.id, examined.evidence
    if evidence is None or examined.exempt:
        return examined
    answers = evidence.answers.with_new(labelled[name]) if name in labelled else evidence.answers
    note = evidence.note
    if name in labelled:
        added, offered = len(answers) - len(evidence.answers), len(labelled[name])
        known = f", {offered - added} were known" if added < offered else ""
        note += f"{added} new samples{known}: "
    extended = structs.replace(
        evidence, answers=answers, note=note, unlabelled=changed.get(name), sequential=sequential
    )
    return structs.replace(examined, evidence=extended)


def _reference(bundle: Bundle, profile: Profile, examined: Sequence[Examined], golden: Golden) -> VariantRecord | None:
    """An fp32 variant whose answers are torch's, to stand in for torch on new images."""
    for each in examined:
        if each.exempt:
            return each.variant
    seen = {each.variant.id for each in examined}
    others = [v for v in bundle.manifest.variants if v.precision == "fp32" and v.id not in seen]
    for variant in others:
        if skip_reason(variant, profile) is None and examine(bundle, variant, profile, golden, None).exempt:
            return variant
    return None
