"""Measures what a profile's `[latency]` bounds, and no more, and judges it."""

import math
from collections.abc import Callable, Mapping

import msgspec
import numpy as np
from msgspec import structs

from edgetl.bundle import Bundle
from edgetl.devices.capacity import measure_capacity, planned_callers
from edgetl.devices.launches import LaunchPlan, Subject, measure_launches
from edgetl.devices.layers.latency import budget_reasons, latency_of, unmeasured
from edgetl.devices.layers.resources import cold_start_reason, memory_reason, size_reason, throughput_reason
from edgetl.devices.profile import LatencyBudget, Profile
from edgetl.devices.statistics import error_budget
from edgetl.devices.verdict import Layer, Reason, Resources, VariantReport
from edgetl.errors import EngineError
from edgetl.runtime.bench.coldstart import cold_start
from edgetl.runtime.throughput import Load
from edgetl.types import Array, Track

LAUNCHES = 5
"""At least so many starts tell how much starts differ."""

LOAD_SECONDS = 1.0
"""So long a launch is asked for its throughput."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured, for whom, and how much of it."""

    bundle: Bundle
    profile: Profile
    plan: LaunchPlan
    track: Track

    @property
    def alpha(self) -> float:
        """The error budget of the profile."""
        return error_budget(self.profile.accuracy.confidence)

    @property
    def launches(self) -> int:
        """How many processes each question gets."""
        return max(LAUNCHES, self.plan.launches)


Fields = dict[str, float | None]
Measured = Callable[[Subject, float, Place], tuple[Fields, Reason]]
"""Takes a bound; gives fields of `Resources`, and what the bound says of them."""


def enough(plan: LaunchPlan, budget: LatencyBudget, alpha: float) -> LaunchPlan:
    """`plan`, with more blocks if a bound of the budget's p99 needs more queries: a bound is one of them."""
    if budget.p99_ms is None:
        return plan
    queries = math.ceil(math.log(alpha) / math.log(0.99))
    return structs.replace(plan, blocks=max(plan.blocks, math.ceil(queries / (plan.launches * plan.queries))))


def measured_latencies(
    subjects: Mapping[str, Subject], plan: LaunchPlan, track: Track
) -> dict[str, Array | EngineError]:
    """The times of each, ms of shape (launches, blocks, queries), all in turns; or why there are none.

    Where one of them cannot be measured, each is measured alone, so that it costs no other its latency.
    """
    try:
        return dict(zip(subjects, measure_launches(list(subjects.values()), plan, track), strict=True))
    except EngineError as error:
        if len(subjects) == 1:
            return dict.fromkeys(subjects, error)
    return {name: measured_latencies({name: each}, plan, track)[name] for name, each in subjects.items()}


def with_latency(report: VariantReport, times: Array | EngineError, place: Place) -> VariantReport:
    """`report` with the latency of `times`, ms of shape (launches, blocks, queries), and its budget's reasons."""
    if isinstance(times, EngineError):
        return structs.replace(report, reasons=(*report.reasons, unmeasured("latency", times)))
    latency = latency_of(times, place.alpha)
    reasons = (*report.reasons, *budget_reasons(times, latency, place.profile.latency, place.alpha))
    return structs.replace(report, latency_ms=latency, reasons=reasons)


def with_resources(report: VariantReport, subject: Subject, place: Place) -> VariantReport:
    """`report` with what else the profile bounds of `subject`. What cannot be measured is undecided."""
    budget = place.profile.latency
    asked: tuple[tuple[float | None, Layer, Measured], ...] = (
        (budget.per_second, "latency", _throughput),
        (budget.cold_start_ms, "latency", _cold_start),
        (budget.rss_mb, "resources", _memory),
    )
    found, reasons = report.resources, list(report.reasons)
    if budget.size_mb is not None:
        reasons.append(size_reason(report.size_bytes, budget.size_mb))
    for bound, layer, measured in asked:
        if bound is None:
            continue
        try:
            fields, reason = measured(subject, bound, place)
        except EngineError as error:
            fields, reason = {}, unmeasured(layer, error)
        found = structs.replace(found or Resources(), **fields)
        reasons.append(reason)
    return structs.replace(report, resources=found, reasons=tuple(reasons))


def _throughput(subject: Subject, least: float, place: Place) -> tuple[Fields, Reason]:
    """With as many callers as this machine's plan chose, else one."""
    batch = place.profile.latency.batch
    callers = planned_callers(place.bundle, place.bundle.variant(subject.variant)) or 1
    load = Load(batch=batch, concurrency=callers, min_seconds=LOAD_SECONDS)
    launches = measure_capacity(subject, load, place.launches, track=place.track)
    rates = np.array([each.per_second for each in launches], float)
    found, reason = throughput_reason(rates, least, batch, place.alpha)
    return {"per_second": found.value, "per_second_low": found.low, "per_second_high": found.high}, reason


def _cold_start(subject: Subject, most: float, place: Place) -> tuple[Fields, Reason]:
    times = cold_start(place.bundle, subject.variant, subject.options, place.launches)[1]
    found, reason = cold_start_reason(times[:, 0], most, place.alpha)
    return {"cold_start_ms": found.value, "cold_start_low": found.low, "cold_start_high": found.high}, reason


def _memory(subject: Subject, most: float, place: Place) -> tuple[Fields, Reason]:
    launches = measure_capacity(subject, None, LAUNCHES, track=place.track)
    largest, reason = memory_reason([each.resident_bytes for each in launches], most)
    return {"rss_mb": largest}, reason
