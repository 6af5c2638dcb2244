"""`measurements.json`: what machines measured of a bundle, beside its signed content, never in it."""

import errno
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import msgspec

from edgetl.bundle import Bundle
from edgetl.errors import ArtefactError
from edgetl.files import read_json, write_json
from edgetl.machine import Machine, detect

SCHEMA = "1.0"
MAX_RECORDS = 200
"""The oldest measurements beyond this number are forgotten."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One `check`, `gate`, `bench` or `tune`: when (UTC), on which machine, what came out."""

    command: str
    when: str
    machine: Machine
    result: Any


class Measurements(msgspec.Struct, frozen=True, kw_only=True):
    schema: str
    records: tuple[Record, ...] = ()


def read(bundle: Bundle) -> Measurements:
    """What is known so far; a damaged file is an ArtefactError, a missing one is empty."""
    path = bundle.path / "measurements.json"
    return read_json(path, Measurements, major=1) if path.exists() else Measurements(schema=SCHEMA)


def readable(bundle: Bundle, warn: Callable[[str], None]) -> Measurements:
    """What is known so far; a damaged file is warned of and counts as empty, as it is no part of the bundle."""
    try:
        return read(bundle)
    except ArtefactError as error:
        warn(f"warning: {error.message}")
        return Measurements(schema=SCHEMA)


def remember(bundle: Bundle, command: str, result: object, machine: Machine | None = None) -> None:
    """Adds a record, of this machine unless `machine` is another.

    Raises ArtefactError when the bundle's folder cannot be written.
    """
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    record = Record(command=command, when=when, machine=machine or detect(), result=result)
    records = (*read(bundle).records, record)[-MAX_RECORDS:]
    try:
        write_json(bundle.path / "measurements.json", Measurements(schema=SCHEMA, records=records))
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise ArtefactError(f"`{bundle.path}` is read-only, the measurement is not kept") from error
