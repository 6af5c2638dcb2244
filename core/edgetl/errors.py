"""Every error edgetl raises on purpose, and the exit code each one becomes.

EdgetlError            1  unexpected, disk full
├── ConfigError        2  wrong usage, option or configuration file
├── DependencyError    3  a library, a file from the network or the hardware is missing
├── ArtefactError      4  a run, a bundle or weights are damaged or do not fit
├── DataError          5  the user's images or labels
└── EngineError        6  an inference engine refused or did something else than asked

Logic raises; only `edgetl.cli` prints and exits.
"""

import difflib
from collections.abc import Iterable


class EdgetlError(Exception):
    """Something the user can understand: what happened, then what to do about it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class ConfigError(EdgetlError):
    exit_code = 2


class DependencyError(EdgetlError):
    exit_code = 3


class ArtefactError(EdgetlError):
    exit_code = 4


class DataError(EdgetlError):
    exit_code = 5


class EngineError(EdgetlError):
    """An engine's own exception, or its refusal, translated at the border."""

    exit_code = 6

    def __init__(self, engine: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(f"{engine}: {message}", hint=hint)
        self.engine = engine


def suggest(value: str, known: Iterable[str], *, what: str = "known") -> str:
    """A hint for a name that is not in `known`: the closest names, else all of them."""
    names = list(known)
    close = difflib.get_close_matches(value, names, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(f"`{name}`" for name in close) + "?"
    shown = ", ".join(f"`{name}`" for name in names[:20]) + (", …" if len(names) > 20 else "")
    return f"{what}: {shown}" if names else f"nothing is {what}"


def first_line(error: BaseException) -> str:
    """The first non-empty line of a foreign exception, short enough to stand in a message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
