"""Which version of each engine is installed, without importing one."""

from importlib.metadata import PackageNotFoundError, packages_distributions, version

from edgetl.plugins import ENGINES, missing


def engine_versions() -> dict[str, str | None]:
    """The version of every engine that edgetl knows; None where a library it needs is not installed."""
    return {name: None if missing(plugin) else _version(plugin.needs[0]) for name, plugin in ENGINES.items()}


def _version(module: str) -> str:
    """Of the distribution with the module's name, else of one that brings it, as onnxruntime-gpu does."""
    try:
        return version(module)
    except PackageNotFoundError:
        found = packages_distributions().get(module)
        return version(found[0]) if found else "unknown"
