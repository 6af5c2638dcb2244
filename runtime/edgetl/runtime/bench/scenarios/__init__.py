"""The four scenarios, one module each: `measure(ask, setup)` gives the result and the raw samples in ms."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from edgetl.runtime.bench.energy import Meter
from edgetl.runtime.bench.options import BenchOptions
from edgetl.runtime.bench.warmup import WarmUp, warm_up


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What all scenarios share: how long, which energy meters, and where /proc and /sys lie."""

    options: BenchOptions
    meters: list[Meter] = []
    root: Path = Path("/")

    def warm_up(self, ask: Callable[[int], object]) -> WarmUp:
        """Queries before those that count."""
        least, seconds = self.options.warmup_queries, self.options.warmup_seconds
        return warm_up(ask, least=least, max_seconds=seconds)
