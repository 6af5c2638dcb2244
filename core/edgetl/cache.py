"""Where edgetl keeps what it can compute again: one private folder, never inside a run or a bundle."""

import os
from pathlib import Path

from edgetl.errors import ConfigError


def cache_directory(name: str) -> Path:
    """`$EDGETL_CACHE/name`, else `$XDG_CACHE_HOME/edgetl/name`, else `~/.cache/edgetl/name`; mode 0700.

    Raises ConfigError when it cannot be made.
    """
    base = os.environ.get("EDGETL_CACHE")
    root = Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgetl"
    path = root / name
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.chmod(0o700)
    except OSError as error:
        raise ConfigError(
            f"the cache folder `{path}` cannot be used: {error.strerror}", hint="set EDGETL_CACHE to a writable folder"
        ) from error
    return path
