"""Compiled models of this machine on disk: the next process loads what this one compiled.

A cache never decides what is answered: an entry that is damaged, foreign or refused is compiled again, with a
warning, and without a folder to write to everything works as without a cache.
"""

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from edgetl.cache import cache_directory, cache_root, engine_limit_bytes
from edgetl.errors import ConfigError, EdgetlError, EngineError
from edgetl.files import sha256_of
from edgetl.machine import detect
from edgetl.runtime.entries import find, store, trim

T = TypeVar("T")


class CompiledKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a compiled model depends on. `content`: SHA-256 of the model's files; `version`: the engine's, in full."""

    engine: str
    version: str
    content: str
    properties: dict[str, str]
    system: str
    arch: str
    cpu: str
    features: tuple[str, ...]
    cores: int


def compiled_key(engine: str, version: str, files: tuple[Path, ...], properties: dict[str, str]) -> CompiledKey:
    """The key on this machine of `files`, compiled with `properties`."""
    machine = detect()
    return CompiledKey(
        engine=engine,
        version=version,
        content=hashlib.sha256("".join(sha256_of(file) for file in files).encode()).hexdigest(),
        properties=dict(sorted(properties.items())),
        system=machine.system,
        arch=machine.arch,
        cpu=machine.cpu,
        features=machine.features,
        cores=machine.cores,
    )


def remembered(key: CompiledKey, load: Callable[[bytes], T], build: Callable[[], T], dump: Callable[[T], bytes]) -> T:
    """What `load` makes of the entry of `key`; without a good one what `build` makes, whose `dump` is then kept.

    Warns (RuntimeWarning) when an entry was there but could not be used, and when nothing can be kept. `load` and
    `dump` may raise EngineError.
    """
    if not engine_limit_bytes():
        return build()
    try:
        place = _place(key)
    except ConfigError as error:
        not_kept(error.message)
        return build()
    entry = find(place, key)
    problem = entry.problem
    if entry.payload is not None:
        try:
            return load(entry.payload)
        except EngineError as error:
            problem = f"is refused ({error.message})"
    if problem:
        warnings.warn(f"the compiled model `{place}` {problem}; it is compiled again", RuntimeWarning, stacklevel=2)
    built = build()
    keep(lambda: store(place, key, dump(built)), place.parent)
    return built


def keep(write: Callable[[], None], folder: Path) -> None:
    """Lets `write` add to `folder` and trims the cache; what goes wrong is a warning, for the model is there."""
    try:
        write()
        trim(cache_root(), engine_limit_bytes())
    except (OSError, EdgetlError) as error:
        not_kept(f"`{folder}`: {error}")


def not_kept(reason: str) -> None:
    warnings.warn(
        f"the compiled model is not kept, so each start compiles it again: {reason}", RuntimeWarning, stacklevel=2
    )


def _place(key: CompiledKey) -> Path:
    """`ENGINE/MODEL-REST.engine`: other options or another machine is another file."""
    digest = hashlib.sha256(msgspec.json.encode(key)).hexdigest()
    return cache_directory(key.engine) / f"{key.content[:16]}-{digest[:16]}.engine"
