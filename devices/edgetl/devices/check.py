"""Judges the variants of a bundle on this machine, layer by layer."""

from collections.abc import Sequence

import msgspec
import numpy as np

from edgetl import plugins
from edgetl.bundle import Bundle, VariantRecord
from edgetl.devices.layers import count_changes, input_layer, numerics_layer, task_layer
from edgetl.devices.numerics import sqnr_db
from edgetl.devices.profile import Profile, Tolerance, differences
from edgetl.devices.verdict import Interval, Latency, Metric, Reason, Report, VariantReport, worst
from edgetl.errors import EngineError
from edgetl.machine import detect
from edgetl.runtime import Session
from edgetl.runtime.bench import BenchOptions, single_stream
from edgetl.runtime.precision import precision_problem
from edgetl.types import Array, Track, silent

BATCH = 8
LATENCY = BenchOptions(min_seconds=1.0, min_queries=200, max_seconds=10.0)


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """The golden set in memory: its arrays, and the input layer's reason, which all variants share."""

    arrays: dict[str, Array]
    input: Reason | None


def check(
    bundle: Bundle,
    profile: Profile,
    *,
    variants: Sequence[str] | None = None,
    latency: BenchOptions | None = LATENCY,
    track: Track = silent,
) -> Report:
    """Judges `variants` (default: all) with the profile's options, tolerances and bounds.

    A variant is skipped when its engine is not installed or this is not the profile's hardware; the report's
    verdict is `skipped` when that leaves nothing. `latency=None` measures none.
    Raises ArtefactError for a damaged bundle.
    """
    chosen = [bundle.variant(name) for name in variants] if variants else list(bundle.manifest.variants)
    bundle.verify()
    skips = {variant.id: skip_reason(variant, profile) for variant in chosen}
    golden = _golden(bundle) if not all(skips.values()) else None
    reports = []
    for variant in track(chosen, "check", len(chosen)):
        reason = skips[variant.id]
        if reason is not None or golden is None:
            reports.append(VariantReport(id=variant.id, verdict="skipped", reasons=(reason,) if reason else ()))
        else:
            reports.append(_judge(bundle, variant, profile, golden, latency))
    verdict = worst(report.verdict for report in reports)
    return Report(bundle=str(bundle.path), device=profile.name, verdict=verdict, variants=tuple(reports))


def skip_reason(variant: VariantRecord, profile: Profile) -> Reason | None:
    """Why `variant` cannot be judged here, or None."""
    elsewhere = differences(profile, detect())
    if elsewhere:
        return Reason(layer="hardware", verdict="skipped", text=f"this is no {profile.title}: {'; '.join(elsewhere)}")
    if profile.options(variant.engine) is None:
        return Reason(layer="hardware", verdict="skipped", text=f"{profile.title} does not run {variant.engine}")
    if variant.engine not in plugins.ENGINES:
        return Reason(layer="engine", verdict="skipped", text=f"this edgetl does not know {variant.engine}")
    plugin = plugins.ENGINES[variant.engine]
    if absent := plugins.missing(plugin):
        text = f"`{'`, `'.join(absent)}` is not installed; install `{plugin.extra}`"
        return Reason(layer="engine", verdict="skipped", text=text)
    return None


def _golden(bundle: Bundle) -> Golden:
    record = bundle.manifest.golden
    if record.kind == "none":
        return Golden(arrays={}, input=None)
    arrays = bundle.golden()
    if not record.encoded:
        return Golden(arrays=arrays, input=None)
    encoded = [bundle.file(relative).read_bytes() for relative in record.encoded]
    expected = arrays["image"][: len(encoded)]
    return Golden(arrays=arrays, input=input_layer(bundle.manifest.task, encoded, expected, record.decoder))


def _judge(
    bundle: Bundle, variant: VariantRecord, profile: Profile, golden: Golden, latency: BenchOptions | None
) -> VariantReport:
    """Opens one variant and asks every layer."""
    try:
        # not load(): an executed precision other than the declared one is to be judged, with all its numbers
        with Session(bundle, variant, profile.options(variant.engine) or {}) as session:
            report = _judge_answers(session, profile, golden)
            timing = single_stream(session, latency) if latency else None
    except EngineError as error:
        reason = Reason(layer="engine", verdict="fail", text=error.message)
        return VariantReport(id=variant.id, verdict="fail", size_bytes=bundle.size_bytes(variant), reasons=(reason,))
    measured = Latency(p50=timing.p50_ms, p99=timing.p99_ms) if timing else None
    return msgspec.structs.replace(report, latency_ms=measured, size_bytes=bundle.size_bytes(variant))


def _judge_answers(session: Session, profile: Profile, golden: Golden) -> VariantReport:
    variant = session.variant
    facts = session.facts
    reasons = [golden.input] if golden.input else []
    if problem := precision_problem(variant.precision, facts):
        reasons.append(Reason(layer="precision", verdict="fail", text=problem))
    if not golden.arrays:
        reasons.append(Reason(layer="numerics", verdict="undecided", text="the bundle carries no golden set"))
        return VariantReport(
            id=variant.id, verdict=worst(r.verdict for r in reasons), facts=facts, reasons=tuple(reasons)
        )
    logits = answer(session, golden.arrays["image"])
    tolerance: Tolerance = getattr(profile.numerics, variant.precision)
    distance, numerics = numerics_layer(logits, golden.arrays, tolerance, session.task.labels)
    metric, interval, task_reason = _judge_task(session, logits, golden, profile, passed=numerics.verdict == "pass")
    reasons += [numerics, task_reason]
    return VariantReport(
        id=variant.id,
        verdict=worst(reason.verdict for reason in reasons),
        samples=distance.samples,
        metric=metric,
        drop_points=interval,
        agreement=distance.agreement,
        sqnr_db=distance.sqnr_db,
        max_abs_dlogit=distance.max_abs_dlogit,
        facts=facts,
        reasons=tuple(reasons),
    )


def _judge_task(
    session: Session, logits: Array, golden: Golden, profile: Profile, *, passed: bool
) -> tuple[Metric | None, Interval | None, Reason]:
    """The task layer: inherited from the export machine when the variant's own answers are reproduced."""
    variant = session.variant
    result, note = variant.task_result, ""
    floor = getattr(profile.numerics, variant.precision).reproduction_sqnr_db
    own = session.bundle.own_answers(variant)
    reproduced = sqnr_db(logits, own) if own is not None else None
    if reproduced is None or reproduced < floor:
        note = "no answers of the export machine to compare with, so judged on the golden set: "
        if reproduced is not None:
            note = f"answers differ from the export machine's (SQNR {reproduced:.1f} dB), so judged on the golden set: "
        truths = golden.arrays.get("labels")
        result = count_changes(logits, golden.arrays["logits"], truths, "top1") if truths is not None else None
    if result is None or result.samples == 0:
        return None, None, Reason(layer="task", verdict="undecided", text=f"{note}none has a label")
    exempt = variant.precision == "fp32" and passed
    interval, reason = task_layer(result, profile.accuracy.max_drop_points, exempt=exempt)
    metric = Metric(name=result.metric, reference=result.reference, value=result.value)
    return metric, interval, msgspec.structs.replace(reason, text=note + reason.text)


def answer(session: Session, images: Array) -> Array:
    """The session's logits for all `images`, in batches, shape (samples, labels)."""
    batches = [session.infer({"image": images[i : i + BATCH]})["logits"] for i in range(0, len(images), BATCH)]
    return np.concatenate(batches)
