"""The engine seam: one module per inference engine, each with `open_engine(path, options) -> Engine`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from edgetl import plugins
from edgetl.errors import ConfigError, EngineError, first_line
from edgetl.files import configured
from edgetl.types import EngineFacts, Feeds, Options, Outputs, TensorSpec

S = TypeVar("S")


class Engine(Protocol):
    """A compiled model. Any number of threads may call `run`, but none once `close` began; `Lease` sees to that."""

    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]

    @property
    def facts(self) -> EngineFacts: ...

    def run(self, feeds: Feeds) -> Outputs: ...

    def close(self) -> None: ...


def open_engine(engine: str, path: Path, options: Options) -> Engine:
    """Compiles the model file `path`.

    Raises ConfigError for an unknown engine or option, DependencyError when the engine is not installed,
    EngineError when it cannot open the model or cannot give the provider or precision asked for.
    """
    try:
        module = plugins.load(plugins.ENGINES, engine, "engine")
    except ImportError as error:
        raise EngineError(engine, f"is installed but cannot be loaded: {first_line(error)}") from error
    return cast(Engine, module.open_engine(path, options))


def typed_options(engine: str, options: Options, kind: type[S]) -> S:
    """Plain options as the engine's own struct; an unknown key or a wrong type is a ConfigError."""
    try:
        return configured(options, kind)
    except ConfigError as error:
        raise ConfigError(f"options of `{engine}`: {error.message}", hint=error.hint) from error


def misfit(feeds: Feeds, inputs: Sequence[TensorSpec]) -> str | None:
    """What is wrong with `feeds`, in words; None when names, types and shapes are the model's own."""
    if names := set(feeds) ^ {spec.name for spec in inputs}:
        return f"the inputs are `{'`, `'.join(spec.name for spec in inputs)}`; missing or unknown: `{min(names)}`"
    for spec in inputs:
        value = feeds[spec.name]
        if not isinstance(value, np.ndarray):
            return f"the input `{spec.name}` is a {type(value).__name__}, not a numpy array"
        fits = value.ndim == len(spec.shape) and all(
            isinstance(wanted, str) or wanted == size for wanted, size in zip(spec.shape, value.shape, strict=True)
        )
        if value.dtype.name != spec.dtype or not fits:
            return f"the input `{spec.name}` is {value.dtype} {value.shape}, not {spec.dtype} {spec.shape}"
    return None


def refusal(engine: str, error: Exception, feeds: Feeds, inputs: Sequence[TensorSpec]) -> EngineError:
    """An engine's exception while it ran: what is wrong with the feeds, else its own words."""
    hint = "feed what `inputs` in the manifest says" if (problem := misfit(feeds, inputs)) else None
    return EngineError(engine, problem or first_line(error), hint=hint)


def compute_precision(layers: dict[str, int]) -> str:
    """One word for the executed compute layers: the lowest precision at least half of them run in."""
    if not layers:
        return "unknown"
    most = max(layers.values())
    order: dict[str, Any] = {"int8": 0, "bf16": 1, "fp16": 2, "fp32": 3}
    return min((name for name, count in layers.items() if count == most), key=lambda name: order.get(name, 4))
