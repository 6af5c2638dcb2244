"""Built engines on this machine's disk: found by what they were built from, for and with; whole, or built again."""

import contextlib
import fcntl
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgetl.files import sha256_of
from edgetl.runtime import entries
from edgetl.runtime.entries import find
from edgetl.runtime.tensorrt.recipe import BuildRecipe

__all__ = ["EngineKey", "content_hash", "engine_path", "exclusive", "find", "store", "timing_path"]


class EngineKey(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine depends on. `content` is the hash of the model and its recipe, the rest describes the machine.

    `driver`: of the kernel module and of CUDA. `processors`: multiprocessors, which tells apart GPUs of one name.
    """

    content: str
    gpu: str
    compute_capability: str
    processors: int
    driver: str
    tensorrt: str


def content_hash(model: Path, recipe: BuildRecipe) -> str:
    """Hex SHA-256 of the model file and of every word of the recipe."""
    return hashlib.sha256(sha256_of(model).encode() + msgspec.json.encode(recipe)).hexdigest()


def engine_path(folder: Path, key: EngineKey) -> Path:
    """`CONTENT-GPU-MACHINE.engine`: another driver or TensorRT is another file."""
    return folder / f"{key.content[:16]}-{_slug(key.gpu)}-{_machine(key)}.engine"


def timing_path(folder: Path, key: EngineKey) -> Path:
    """The kernel timings, shared by all engines that one TensorRT builds for one kind of GPU."""
    return folder / f"{_slug(key.gpu)}-{_machine(key)}.timing"


def store(path: Path, key: EngineKey, payload: bytes) -> None:
    """Keeps `payload`, then removes what it supersedes.

    Superseded: the same model's engines for the same kind of GPU by another driver or TensorRT.
    """
    entries.store(path, key, payload)
    prefix = path.name.removesuffix(path.suffix).removesuffix(_machine(key))
    for other in path.parent.glob(f"{prefix}*{path.suffix}"):
        if other != path:
            other.unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """One build at a time on this machine: two at once would disturb each other's kernel timings.

    Who waited looks into the cache again, and mostly finds the engine there.
    """
    with (folder / "build.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "gpu"


def _machine(key: EngineKey) -> str:
    words = (key.gpu, key.compute_capability, str(key.processors), key.driver, key.tensorrt)
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
