"""Which figure of a profile a source speaks of, by the figure's key with dots."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetl.errors import ConfigError, suggest


def written(values: Mapping[str, Any]) -> dict[str, Any]:
    """Every value that a profile states, by its key: `hardware.cores`, `engines.onnxruntime.threads`.

    What says who and whence (`name`, `source`, …) is no figure.
    """
    found: dict[str, Any] = {}
    for table in ("hardware", "accuracy", "latency", "numerics", "quantisation"):
        found.update(_flat(table, values.get(table, {})))
    for engine in values.get("engines", ()):
        place = f"engines.{engine['name']}"
        found.update(_flat(place, engine.get("options", {})))
        if "precisions" in engine:
            found[f"{place}.precisions"] = engine["precisions"]
    return found


def check_figures(path: Path, values: Mapping[str, Any]) -> None:
    """Raises ConfigError for a figure that is no number, and for a source of what the profile does not say."""
    figures = written(values)
    for key, value in figures.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"`{path}`: `{key}` is `{value}`", hint="leave away what is not to be judged")
    for key in values.get("sources", {}):
        if key not in figures:
            raise ConfigError(f"`{path}` has a source for `{key}`, which it does not say", hint=suggest(key, figures))


def inherited_sources(parent: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, str]:
    """The parent's sources, without those of figures that the extending profile states itself."""
    stated = written(own)
    return {
        key: source
        for key, source in parent.get("sources", {}).items()
        if key not in stated and not (key.startswith("engines.") and "engines" in own)
    }


def unsourced(values: Mapping[str, Any]) -> list[str]:
    """The keys of the numbers that have no source."""
    numbers = [key for key, value in written(values).items() if _is_number(value)]
    return [key for key in numbers if key not in values.get("sources", {})]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _flat(place: str, table: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        found.update(_flat(f"{place}.{key}", value) if isinstance(value, dict) else {f"{place}.{key}": value})
    return found
