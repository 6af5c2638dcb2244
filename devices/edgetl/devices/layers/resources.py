"""Resources layer: throughput, cold start, memory and size against a profile's budgets.

Times are judged on their interval over launches, as latency is. Memory and size are no statistics.
"""

from collections.abc import Sequence

import numpy as np

from edgetl.devices.layers.latency import decided
from edgetl.devices.statistics import ALPHA, percent
from edgetl.devices.verdict import Reason
from edgetl.runtime.timing import Level, level, level_p_value
from edgetl.types import Array, Verdict


def throughput_reason(rates: Array, least: float, batch: int, alpha: float = ALPHA) -> tuple[Level, Reason]:
    """Samples a second, one value a launch: passes when the lower bound is `least` or more, fails below it."""
    found, p_value = level(rates, alpha), level_p_value(1 / rates, 1 / least)
    text = (
        f"{found.value:.4g} samples/s, {batch} an engine call, between {found.low:.4g} and {found.high:.4g} "
        f"({percent(alpha)}, {len(rates)} launches), at least {least:g} wanted"
    )
    verdict = decided(found.low >= least, p_value, alpha)
    return found, Reason(layer="latency", verdict=verdict, text=text, p_value=p_value)


def cold_start_reason(milliseconds: Array, most: float, alpha: float = ALPHA) -> tuple[Level, Reason]:
    """From the start of a process to its first answer, one value a start, against `most`."""
    found, p_value = level(milliseconds, alpha), level_p_value(milliseconds, most)
    text = (
        f"first answer {found.value:.0f} ms after a process starts, between {found.low:.0f} and {found.high:.0f} "
        f"({percent(alpha)}, {len(milliseconds)} starts), allowed {most:g}"
    )
    verdict = decided(found.high <= most, p_value, alpha)
    return found, Reason(layer="latency", verdict=verdict, text=text, p_value=p_value)


def memory_reason(resident: Sequence[int | None], most: float) -> tuple[float | None, Reason]:
    """The most resident memory of any launch, in 10⁶ bytes: passes when that is within, fails when all are above."""
    known = np.array([each for each in resident if each is not None]) / 1e6
    if len(known) < len(resident) or not len(known):
        text = f"this system does not say what memory a process has, allowed {most:g} MB"
        return None, Reason(layer="resources", verdict="undecided", text=text)
    low, high = float(known.min()), float(known.max())
    verdict: Verdict = "pass" if high <= most else "fail" if low > most else "undecided"
    text = f"{low:.1f} to {high:.1f} MB resident in {len(known)} processes, allowed {most:g}"
    return high, Reason(layer="resources", verdict=verdict, text=text)


def size_reason(size_bytes: int, most: float) -> Reason:
    """The variant's files against `most`, in 10⁶ bytes."""
    verdict: Verdict = "pass" if size_bytes <= 1e6 * most else "fail"
    return Reason(layer="resources", verdict=verdict, text=f"files of {size_bytes / 1e6:.3f} MB, allowed {most:g}")
