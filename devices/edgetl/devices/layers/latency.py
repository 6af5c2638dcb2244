"""Latency layer: is a percentile within its budget, and is a variant slower than its baseline?"""

import numpy as np

from edgetl.devices.profile import LatencyBudget
from edgetl.devices.statistics import ALPHA, percent
from edgetl.devices.verdict import QUANTILES, Latency, Layer, Reason
from edgetl.errors import EngineError
from edgetl.runtime.timing import percentile_interval, percentile_p_value, ratio, ratio_p_value
from edgetl.types import Array, Verdict


def query_size(budget: LatencyBudget) -> int:
    """How many samples a query of the budget's scenario has."""
    return budget.batch if budget.scenario == "multi-stream" else 1


def latency_of(times: Array, alpha: float = ALPHA) -> Latency:
    """p50 and p99 with bounds from times in ms, shape (launches, blocks, queries); p99 from 100 queries on."""
    middle = percentile_interval(times, 0.5, alpha)
    tail = percentile_interval(times, 0.99, alpha) if times.size >= 100 else None
    return Latency(
        p50=middle.value,
        p50_low=middle.low,
        p50_high=middle.high,
        p99=tail.value if tail else None,
        p99_low=tail.low if tail else None,
        p99_high=tail.high if tail else None,
        quantiles=quantiles_of(times),
    )


def quantiles_of(times: Array) -> tuple[float, ...]:
    """The distribution of all single times at `QUANTILES`, in their unit."""
    return tuple(np.quantile(times, QUANTILES).tolist())


def budget_reasons(times: Array, latency: Latency, budget: LatencyBudget, alpha: float = ALPHA) -> list[Reason]:
    """Pass when the upper bound is within the budget, fail when the lower one is above it, else undecided."""
    asked = [
        ("p50", 0.5, budget.p50_ms, latency.p50, latency.p50_low, latency.p50_high),
        ("p99", 0.99, budget.p99_ms, latency.p99, latency.p99_low, latency.p99_high),
    ]
    of = f" for {query_size(budget)} samples" if query_size(budget) > 1 else ""
    reasons = []
    for name, q, most, value, low, high in asked:
        if most is None:
            continue
        if value is None or low is None:
            reasons.append(Reason(layer="latency", verdict="undecided", text=f"too few queries for a {name}"))
            continue
        p_value = percentile_p_value(times, q, most)
        verdict = decided(high is not None and high <= most, p_value, alpha)
        upper = "unknown" if high is None else f"{high:.2f}"
        text = (
            f"{name} {value:.2f} ms{of}, between {low:.2f} and {upper} ({percent(alpha)}, {len(times)} launches), "
            f"allowed {most:g}"
        )
        reasons.append(Reason(layer="latency", verdict=verdict, text=text, p_value=p_value))
    return reasons


def regression_reason(baseline: Array, times: Array, margin: float, alpha: float = ALPHA) -> Reason:
    """Whether the median became slower by more than `margin` (0.05: five percent), measured in the same launches."""
    found = ratio(baseline, times, alpha=alpha)
    p_value = ratio_p_value(baseline, times, margin)
    verdict = decided(found.high <= 1 + margin, p_value, alpha)
    text = (
        f"median latency × {found.value:.3f} of the baseline's, between {found.low:.3f} and {found.high:.3f} "
        f"({percent(alpha)}, {len(times)} launches in turns), allowed {1 + margin:.2f}"
    )
    return Reason(layer="baseline", verdict=verdict, text=text, p_value=p_value)


def unmeasured(layer: Layer, error: EngineError) -> Reason:
    """What could not be measured is never a pass."""
    return Reason(layer=layer, verdict="undecided", text=f"not measured: {error.message}")


def decided(within: bool, p_value: float, alpha: float) -> Verdict:
    """Pass when all of the interval is `within`, fail when chance hardly explains that it would be, else undecided."""
    if within:
        return "pass"
    return "fail" if p_value <= alpha else "undecided"
