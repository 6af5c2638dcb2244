"""The engine seam: one module per inference engine, each with `open_engine(path, options) -> Engine`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from edgetl import plugins
from edgetl.errors import ConfigError, EngineError, first_line
from edgetl.files import configured
from edgetl.types import EngineFacts, Feeds, Options, Outputs, TensorSpec

S = TypeVar("S")


class Engine(Protocol):
    """A compiled model. `facts` may run the model once to see what it really executes."""

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


def compute_precision(layers: dict[str, int]) -> str:
    """One word for the executed compute layers: the lowest precision at least half of them run in."""
    if not layers:
        return "unknown"
    most = max(layers.values())
    order: dict[str, Any] = {"int8": 0, "bf16": 1, "fp16": 2, "fp32": 3}
    return min((name for name, count in layers.items() if count == most), key=lambda name: order.get(name, 4))
