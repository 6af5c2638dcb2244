"""Every single time that was measured, in one .npz file, for whoever wants to look closer."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from edgetl.errors import ConfigError
from edgetl.files import write_via
from edgetl.types import Array

ABOUT = "about"
"""The name of the JSON string in the file; no array of times is called so."""


def check_raw(path: Path) -> None:
    """Refuses a file that could not be written, before anything is measured. Raises ConfigError."""
    if path.suffix != ".npz" or path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"`{path}` cannot be written", hint="`--raw` takes a .npz file in a folder that exists")


def write_raw(path: Path, samples: Mapping[str, Array], about: object) -> None:
    """Writes `samples` (ms) by name and `about` as JSON. Nothing in it needs unpickling."""
    text = np.array(msgspec.json.encode(about).decode())
    write_via(path, lambda stream: np.savez_compressed(stream, **{**samples, ABOUT: text}))  # type: ignore[arg-type]
