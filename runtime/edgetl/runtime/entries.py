"""Files of the engine cache: what each was made from in its first line, then the payload; whole, or not used."""

import contextlib
import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

import msgspec

from edgetl.cache import engine_limit_bytes

MAGIC = b"edgetl engine 1\n"
MAX_HEADER_BYTES = 2**16
SUFFIXES = (".engine", ".timing")
PARTIAL = ".partial"
ABANDONED_SECONDS = 3600.0
"""What a killed process had begun to write is removed when it is as old as this."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of an entry; the payload follows it. `key`: everything the payload depends on."""

    key: msgspec.Raw
    size: int
    sha256: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache holds: the payload, or why there is none (`problem` is empty when nothing was ever stored)."""

    payload: bytes | None
    problem: str = ""


def find(path: Path, key: msgspec.Struct) -> Entry:
    """The payload stored at `path` for exactly `key`, if it is whole and was written by this user or by root."""
    try:
        with path.open("rb") as stream:
            owner = os.fstat(stream.fileno()).st_uid
            if owner not in (os.geteuid(), 0):
                return Entry(payload=None, problem=f"belongs to user {owner}")
            entry = _read(stream, key)
            if entry.payload is not None:
                with contextlib.suppress(OSError):  # on a read-only disk nothing is removed either
                    os.utime(path)
            return entry
    except FileNotFoundError:
        return Entry(payload=None)
    except OSError as error:
        return Entry(payload=None, problem=f"cannot be read: {error.strerror}")


def _read(stream: BinaryIO, key: msgspec.Struct) -> Entry:
    if stream.read(len(MAGIC)) != MAGIC:
        return Entry(payload=None, problem="is no engine of edgetl")
    try:
        header = msgspec.json.decode(stream.readline(MAX_HEADER_BYTES), type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Entry(payload=None, problem="has a damaged header")
    if bytes(header.key) != msgspec.json.encode(key):
        return Entry(payload=None, problem="was built for something else")
    payload = stream.read()
    if header.size != len(payload):
        return Entry(payload=None, problem=f"is cut off: {len(payload)} of {header.size} bytes")
    if header.sha256 != hashlib.sha256(payload).hexdigest():
        return Entry(payload=None, problem="does not have its checksum")
    return Entry(payload=payload)


def store(path: Path, key: msgspec.Struct, payload: bytes) -> None:
    """Writes header and payload as one file that appears whole; nothing when it alone is above the limit.

    Not synced: after a power cut the checksum tells, and waiting for an SD card would cost more than the cache saves.
    """
    if len(payload) > engine_limit_bytes():
        return
    header = Header(
        key=msgspec.Raw(msgspec.json.encode(key)), size=len(payload), sha256=hashlib.sha256(payload).hexdigest()
    )
    descriptor, temporary = tempfile.mkstemp(PARTIAL, f".{path.name}.", path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(MAGIC + msgspec.json.encode(header) + b"\n")
            stream.write(payload)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def trim(folder: Path, limit_bytes: int) -> None:
    """Removes the entries below `folder` that were not used for longest until they take at most `limit_bytes`.

    A process that has read an entry keeps what it read; one that comes too late compiles again.
    """
    found: list[tuple[float, int, Path]] = []
    for path in folder.glob("*/*"):
        with contextlib.suppress(FileNotFoundError):  # another process trims too
            state = path.stat()
            if path.suffix == PARTIAL and time.time() - state.st_mtime > ABANDONED_SECONDS:
                path.unlink()
            elif path.suffix in SUFFIXES:
                found.append((state.st_mtime, state.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= limit_bytes:
            break
        path.unlink(missing_ok=True)
        total -= size
