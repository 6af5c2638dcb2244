"""Where edgetl keeps what it can compute again: one private folder, never inside a run or a bundle."""

import os
import stat
from pathlib import Path

from edgetl.errors import ConfigError

ENGINE_LIMIT = "EDGETL_ENGINE_CACHE_MB"
"""The environment variable with the MiB that compiled models may take together; 0 keeps none."""

DEFAULT_ENGINE_MB = 2048


def cache_root() -> Path:
    """`$EDGETL_CACHE`, else `$XDG_CACHE_HOME/edgetl`, else `~/.cache/edgetl`."""
    base = os.environ.get("EDGETL_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgetl"


def cache_directory(name: str) -> Path:
    """The folder `name` in the cache, with mode 0700. It may lie on a disk that is read-only.

    Raises ConfigError when it cannot be made, or when it belongs to someone else.
    """
    try:
        path = cache_root() / name
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = path.stat()
        if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != 0o700:
            path.chmod(0o700)
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"the cache folder `{name}` cannot be used: {reason}", hint="set EDGETL_CACHE to a writable folder"
        ) from error
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"the cache folder `{path}` belongs to user {found.st_uid}, this process runs as {os.geteuid()}",
            hint="set EDGETL_CACHE to a folder of your own",
        )
    return path


def engine_limit_bytes() -> int:
    """What compiled models may take together. Raises ConfigError for a value that is no whole number."""
    value = os.environ.get(ENGINE_LIMIT, "")
    if value and not value.isdecimal():
        raise ConfigError(f"`{ENGINE_LIMIT}` cannot be `{value}`", hint="a whole number of MiB; 0 keeps nothing")
    return int(value or DEFAULT_ENGINE_MB) * 2**20
