"""Latency layer: is a percentile within its budget, and is a variant slower than its baseline?"""

from edgetl.devices.profile import LatencyBudget
from edgetl.devices.statistics import ALPHA
from edgetl.devices.verdict import Latency, Reason
from edgetl.runtime.timing import percentile_interval, percentile_p_value, ratio, ratio_p_value
from edgetl.types import Array, Verdict


def latency_of(times: Array) -> Latency:
    """p50 and p99 with bounds from times in ms, shape (launches, blocks, queries); p99 from 100 queries on."""
    middle = percentile_interval(times, 0.5)
    tail = percentile_interval(times, 0.99) if times.size >= 100 else None
    return Latency(
        p50=middle.value,
        p50_low=middle.low,
        p50_high=middle.high,
        p99=tail.value if tail else None,
        p99_low=tail.low if tail else None,
        p99_high=tail.high if tail else None,
    )


def budget_reasons(times: Array, latency: Latency, budget: LatencyBudget) -> list[Reason]:
    """Pass when the upper bound is within the budget, fail when the lower one is above it, else undecided."""
    asked = [
        ("p50", 0.5, budget.p50_ms, latency.p50, latency.p50_low, latency.p50_high),
        ("p99", 0.99, budget.p99_ms, latency.p99, latency.p99_low, latency.p99_high),
    ]
    reasons = []
    for name, q, most, value, low, high in asked:
        if most is None:
            continue
        if value is None or low is None:
            reasons.append(Reason(layer="latency", verdict="undecided", text=f"too few queries for a {name}"))
            continue
        p_value = percentile_p_value(times, q, most)
        verdict: Verdict = "undecided"
        if high is not None and high <= most:
            verdict = "pass"
        elif p_value <= ALPHA:
            verdict = "fail"
        upper = "unknown" if high is None else f"{high:.2f}"
        text = f"{name} {value:.2f} ms, between {low:.2f} and {upper} (95 %, {len(times)} launches), allowed {most:g}"
        reasons.append(Reason(layer="latency", verdict=verdict, text=text, p_value=p_value))
    return reasons


def regression_reason(baseline: Array, times: Array, margin: float) -> Reason:
    """Whether the median became slower by more than `margin` (0.05: five percent), measured in the same launches."""
    found = ratio(baseline, times)
    p_value = ratio_p_value(baseline, times, margin)
    verdict: Verdict = "undecided"
    if found.high <= 1 + margin:
        verdict = "pass"
    elif p_value <= ALPHA:
        verdict = "fail"
    text = (
        f"median latency × {found.value:.3f} of the baseline's, between {found.low:.3f} and {found.high:.3f} "
        f"(95 %, {len(times)} launches in turns), allowed {1 + margin:.2f}"
    )
    return Reason(layer="baseline", verdict=verdict, text=text, p_value=p_value)
