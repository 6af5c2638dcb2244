"""Versions of the libraries that made a bundle."""

from importlib.metadata import version


def library_version(library: str) -> str:
    """The installed version, or `unknown`; ONNX Runtime is one module with two distributions."""
    for name in (library, f"{library}-gpu"):
        try:
            return version(name)
        except ModuleNotFoundError:
            continue
    return "unknown"
