"""The Pareto front: variants that no other beats in accuracy, latency and size at once."""

from collections.abc import Sequence

from edgetl.runtime.plan import Tradeoff


def pareto_front(tradeoffs: Sequence[Tradeoff]) -> tuple[Tradeoff, ...]:
    """Those of `tradeoffs` that none of the others dominates, the fastest first.

    A gain of accuracy counts as no drop, an unknown drop as the largest.
    """
    kept = [one for one in tradeoffs if not any(_dominates(other, one) for other in tradeoffs)]
    return tuple(sorted(kept, key=lambda each: each.p50_ms))


def _dominates(one: Tradeoff, other: Tradeoff) -> bool:
    """At least as good in all three, better in one."""
    mine, its = _losses(one), _losses(other)
    return all(a <= b for a, b in zip(mine, its, strict=True)) and mine != its


def _losses(tradeoff: Tradeoff) -> tuple[float, float, float]:
    drop = float("inf") if tradeoff.drop_points is None else max(0.0, tradeoff.drop_points)
    return drop, tradeoff.p50_ms, float(tradeoff.size_bytes)
