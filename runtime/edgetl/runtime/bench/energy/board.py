"""The INA3221 of a Jetson: voltage and current of its supply rails, read and integrated over time.

Reference: Linux, Documentation/hwmon/ina3221.rst: `inN_input` in mV, `currN_input` in mA, `inN_label` the rail.
"""

import time
from collections.abc import Callable
from pathlib import Path

PATTERN = "sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*"

WHOLE = "VDD_IN"
"""The rail that feeds the whole module, where there is one; else the rails are added."""

CHANNELS = (1, 2, 3)


class BoardMeter:
    """Power of some rails, by the trapezoid rule between two calls. `clock` counts seconds."""

    def __init__(self, rails: list[tuple[str, Path, Path]], clock: Callable[[], float] = time.perf_counter) -> None:
        self.name = "INA3221 " + " + ".join(name for name, _, _ in rails)
        self._rails, self._clock = rails, clock
        self._when, self._watts, self._total = clock(), self._power(), 0.0

    def joules(self) -> float:
        now, watts = self._clock(), self._power()
        self._total += (now - self._when) * (watts + self._watts) / 2
        self._when, self._watts = now, watts
        return self._total

    def _power(self) -> float:
        return sum(int(volts.read_text()) * int(amperes.read_text()) for _, volts, amperes in self._rails) / 1e6


def board_meter(root: Path, clock: Callable[[], float] = time.perf_counter) -> BoardMeter | None:
    """The meter of the board under us, or None where it has none."""
    rails = []
    for folder in sorted(root.glob(PATTERN)):
        for channel in CHANNELS:
            parts = [
                folder / f"{name}" for name in (f"in{channel}_label", f"in{channel}_input", f"curr{channel}_input")
            ]
            if all(part.is_file() for part in parts):
                rails.append((parts[0].read_text().strip(), parts[1], parts[2]))
    whole = [rail for rail in rails if rail[0] == WHOLE]
    return BoardMeter(whole or rails, clock) if rails else None
