"""The gate of a pipeline: check, latency over several launches, and the comparison with a baseline, as one verdict."""

from collections.abc import Sequence

import msgspec

from edgetl.bundle import Bundle
from edgetl.devices.baseline import SCHEMA, Baseline, GateReport, accuracy_reason, model_digest, record
from edgetl.devices.budgets import Place, enough, with_latency, with_resources
from edgetl.devices.check import judge, skip_reason, subject
from edgetl.devices.evidence import NewData
from edgetl.devices.examine import Examined
from edgetl.devices.launches import LaunchPlan, measure_launches
from edgetl.devices.layers.latency import latency_of, regression_reason
from edgetl.devices.measures import fitted, measure_of
from edgetl.devices.profile import Profile
from edgetl.devices.statistics import error_budget
from edgetl.devices.verdict import Reason, VariantReport, settle, worst
from edgetl.errors import ConfigError
from edgetl.machine import detect
from edgetl.manifest import VariantRecord
from edgetl.types import Array, Track, silent

MARGIN = 0.05
"""A median up to so much slower than the baseline's counts as equal."""

COMPARISONS = 2
"""What a baseline is asked of a variant: its accuracy and its latency."""


def gate(
    bundle: Bundle,
    profile: Profile,
    *,
    baseline: Baseline | None = None,
    variants: Sequence[str] | None = None,
    new: NewData | None = None,
    margin: float = MARGIN,
    plan: LaunchPlan = LaunchPlan(),  # noqa: B008  # frozen
    track: Track = silent,
) -> GateReport:
    """Judges `variants` (default: the device's plan, else all) as `check` does, their latency, and against `baseline`.

    Accuracy is compared on the samples both answered, latency in the same launches, in turns. All questions share
    one error budget. Raises what `check` raises, ConfigError for a baseline of another task, and EngineError when a
    launch fails.
    """
    profile = fitted(profile, bundle.manifest.task)
    alpha = error_budget(profile.accuracy.confidence)
    if (
        baseline
        and baseline.bundle
        and not set(baseline.bundle.manifest.task.labels) & set(bundle.manifest.task.labels)
    ):
        raise ConfigError(f"`{baseline.name}` has none of the labels of `{bundle.path}`", hint="is it another task?")
    place = Place(bundle=bundle, profile=profile, plan=enough(plan, profile.latency, alpha), track=track)
    examined, reports = judge(
        bundle, profile, variants=variants, new=new, asked_besides=COMPARISONS if baseline else 0, track=track
    )
    terms = _Terms(place=place, baseline=baseline, margin=margin)
    opened = {each.variant.id: each for each in examined if each.report.facts is not None}
    settled = settle([_widened(r, opened[r.id], terms) if r.id in opened else r for r in reports], alpha)
    right = measure_of(profile.accuracy).right
    return GateReport(
        schema=SCHEMA,
        bundle=str(bundle.path),
        device=profile.name,
        verdict=worst(report.verdict for report in settled),
        baseline=baseline.name if baseline else None,
        machine=detect(),
        variants=settled,
        confidence=profile.accuracy.confidence,
        answers={
            each.variant.id: record(
                right(each.evidence.answers), each.evidence.answers, model_digest(bundle, each.variant)
            )
            for each in examined
            if each.evidence and right
        },
    )


class _Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What every variant is measured and compared on."""

    place: Place
    baseline: Baseline | None
    margin: float


def _widened(report: VariantReport, examined: Examined, terms: _Terms) -> VariantReport:
    """`report` with its latency and its other budgets, and with what the baseline says."""
    variant, place, baseline = examined.variant, terms.place, terms.baseline
    subjects = [subject(place.bundle, variant, place.profile)]
    before = _same_variant(baseline, variant, place.profile)
    if baseline and baseline.bundle and before:
        subjects.append(subject(baseline.bundle, before, place.profile))
    times = measure_launches(subjects, place.plan, place.track)
    report = with_resources(with_latency(report, times[0], place), subjects[0], place)
    return _compared(report, examined, times, baseline, terms) if baseline else report


def _compared(
    report: VariantReport, examined: Examined, times: Array, baseline: Baseline, terms: _Terms
) -> VariantReport:
    """`report` with the baseline's reasons. `times`: of the variant, and of the baseline's if it ran in turns."""
    place, alpha = terms.place, terms.place.alpha
    accuracy = accuracy_reason(baseline, examined.variant, examined.evidence, place.bundle, place.profile.accuracy)
    if len(times) > 1:
        theirs, speed = latency_of(times[1], alpha), regression_reason(times[1], times[0], terms.margin, alpha)
    else:
        theirs, speed = None, _not_in_turns(baseline, report, terms.margin)
    reasons = (*report.reasons, accuracy, speed)
    return msgspec.structs.replace(report, reasons=reasons, baseline_latency_ms=theirs)


def _same_variant(baseline: Baseline | None, variant: VariantRecord, profile: Profile) -> VariantRecord | None:
    """The baseline bundle's variant of that name, if it runs here."""
    found = baseline.variant(variant.id) if baseline else None
    return found if found and skip_reason(found, profile) is None else None


def _not_in_turns(baseline: Baseline, report: VariantReport, margin: float) -> Reason:
    """A report's latency is of another hour: it can raise a doubt, but not decide."""
    latency = report.latency_ms
    before = [each for each in baseline.report.variants if each.id == report.id] if baseline.report else []
    if not before or before[0].latency_ms is None or baseline.report is None or latency is None:
        return Reason(layer="baseline", verdict="pass", text="the baseline has no such variant that runs here")
    made, here = baseline.report.machine, detect()
    if (made.cpu, made.features, made.cores) != (here.cpu, here.features, here.cores):
        return Reason(layer="baseline", verdict="pass", text="the baseline's latency is of another machine")
    old = before[0].latency_ms
    slower = latency.p50_low is not None and old.p50_high is not None and latency.p50_low > old.p50_high * (1 + margin)
    text = f"median latency {latency.p50:.2f} ms, {old.p50:.2f} ms in the baseline's report; not measured in turns"
    hint = ", so undecided: name the baseline's bundle to decide" if slower else ""
    return Reason(layer="baseline", verdict="undecided" if slower else "pass", text=text + hint)
