"""Where edgetl keeps what it can compute again: one private folder, never inside a run or a bundle."""

import os
from pathlib import Path


def cache_directory(name: str) -> Path:
    """`$EDGETL_CACHE/name`, else `$XDG_CACHE_HOME/edgetl/name`, else `~/.cache/edgetl/name`; mode 0700."""
    base = os.environ.get("EDGETL_CACHE")
    root = Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgetl"
    path = root / name
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)
    return path
