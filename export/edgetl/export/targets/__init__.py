"""The target seam: one module per engine, each with `convert` and `options`; the lazy table has its precisions."""

from pathlib import Path
from typing import Protocol, cast

import msgspec

from edgetl import plugins
from edgetl.errors import ConfigError, suggest
from edgetl.export.quantisation.statistics import Statistics
from edgetl.manifest import Quantisation
from edgetl.types import Option, Precision


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What an int8 conversion goes by: the statistics of the graph on training images, and the recipe.

    `per_tensor` gives each weight tensor one scale, for hardware that cannot have one per channel.
    """

    statistics: Statistics
    quantisation: Quantisation
    per_tensor: bool = False


class Target(Protocol):
    """How one engine gets its model files. `WAYS`: how it can quantise graphs of matrix products, plain first."""

    WAYS: tuple[dict[str, bool], ...]

    def convert(self, source: Path, folder: Path, precision: Precision, calibration: Calibration) -> tuple[str, ...]:
        """Writes the variant's files into `folder`, returns their names, the one the engine opens first."""

    def options(self, precision: Precision) -> dict[str, Option]:
        """What the engine must be told to run the files in `precision`."""


def parse_variant(name: str) -> tuple[str, Precision]:
    """`openvino-int8` → engine and precision. Raises ConfigError with the closest name."""
    known = {
        f"{engine}-{precision}": (engine, precision)
        for engine, plugin in plugins.TARGETS.items()
        for precision in plugin.precisions
    }
    if name not in known:
        raise ConfigError(f"unknown variant `{name}`", hint=suggest(name, known))
    engine, precision = known[name]
    return engine, cast(Precision, precision)


def load_target(engine: str) -> Target:
    """The target module of `engine`. Raises DependencyError naming the extra when its library is missing."""
    return cast(Target, plugins.load(plugins.TARGETS, engine, "target"))
