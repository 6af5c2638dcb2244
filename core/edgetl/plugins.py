"""The lazy table of engines and export targets: a name, its module, what must be installed for it."""

import contextlib
import gc
import importlib
import importlib.util
from collections.abc import Iterator
from types import ModuleType

import msgspec

from edgetl.errors import ConfigError, DependencyError, suggest


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    """`module` is imported only when asked for; `needs` are the libraries it imports at its top.

    `precisions`: what a target can convert to.
    """

    module: str
    needs: tuple[str, ...]
    extra: str
    precisions: tuple[str, ...] = ()


ENGINES = {
    "onnxruntime": Plugin(
        module="edgetl.runtime.engines.onnxruntime",
        needs=("onnxruntime",),
        extra="edgetl[onnxruntime]` or `edgetl[onnxruntime-gpu]",
    ),
    "openvino": Plugin(module="edgetl.runtime.engines.openvino", needs=("openvino",), extra="edgetl[openvino]"),
    "tensorrt": Plugin(
        module="edgetl.runtime.engines.tensorrt", needs=("tensorrt", "cuda.bindings"), extra="edgetl[tensorrt]"
    ),
}

TARGETS = {
    "onnxruntime": Plugin(
        module="edgetl.export.targets.onnxruntime",
        needs=("onnx", "onnxruntime"),
        extra="edgetl[export,onnxruntime]",
        precisions=("fp32", "fp16", "int8", "w8"),
    ),
    "openvino": Plugin(
        module="edgetl.export.targets.openvino",
        needs=("openvino", "nncf"),
        extra="edgetl[export,openvino]",
        precisions=("fp32", "fp16", "bf16", "int8", "w8"),
    ),
    "tensorrt": Plugin(
        module="edgetl.export.targets.tensorrt",
        needs=("onnx", "onnxruntime"),
        extra="edgetl[export,onnxruntime]",
        precisions=("fp32", "fp16", "int8"),
    ),
}


def known(table: dict[str, Plugin], name: str, what: str) -> Plugin:
    """The table's row, or ConfigError with the closest name."""
    if name not in table:
        raise ConfigError(f"unknown {what} `{name}`", hint=suggest(name, table))
    return table[name]


def missing(plugin: Plugin) -> list[str]:
    """The libraries of `plugin` that are not installed."""
    return [name for name in plugin.needs if not _installed(name)]


def engine_installed(name: str) -> bool:
    """Whether `name` is an engine that edgetl knows and whose libraries are here."""
    return name in ENGINES and not missing(ENGINES[name])


def _installed(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:
        return False


def load(table: dict[str, Plugin], name: str, what: str) -> ModuleType:
    """Imports the module behind `name`.

    Raises ConfigError for an unknown name, DependencyError naming the extra for a missing library.
    """
    plugin = known(table, name, what)
    if absent := missing(plugin):
        raise DependencyError(
            f"the {what} `{name}` needs `{'`, `'.join(absent)}`, which is not installed",
            hint=f"install `{plugin.extra}`",
        )
    return importlib.import_module(plugin.module)


@contextlib.contextmanager
def heavy_imports() -> Iterator[None]:
    """Pauses the garbage collector while torch and its kin are imported.

    Hundreds of thousands of objects that stay are scanned again and again otherwise: 12 s become 10 on 2 cores.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def require(extra: str, *libraries: str) -> None:
    """Refuses to go on without `libraries`, naming the extra that brings them."""
    absent = [name for name in libraries if not _installed(name)]
    if absent:
        raise DependencyError(
            f"this command needs `{'`, `'.join(absent)}`, which is not installed",
            hint=f"install `edgetl[{extra}]`",
        )
