"""The samples an imported model is judged and calibrated with, and which of them does what."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgetl.errors import DataError
from edgetl.export.golden import stratified
from edgetl.run import SampleRecord
from edgetl.tasks import Task
from edgetl.tasks.labelled import Labelled
from edgetl.tasks.loading import in_order

FEWEST = 8
"""Fewer samples say nothing about a model."""

CALIBRATION_PART = 3
"""One sample of so many calibrates where golden samples are all there is."""

MOST_TO_CALIBRATE = 640
"""More are not looked at: 512 that calibrate, and 128 to choose by."""


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """`records`: those of `val` are golden, those of `train` calibrate. `labelled`: by the path of a record."""

    records: tuple[SampleRecord, ...]
    labelled: dict[str, Labelled]

    def fingerprint(self) -> str:
        """Of every split, label and content."""
        lines = sorted(f"{each.split} {each.label} {each.sha256}\n" for each in self.records)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def gather(task: Task, golden: Path, calibration: Path | None, *, unlabelled: bool, seed: int) -> Samples:
    """The samples in `golden`, and those in `calibration` that are not among them; without such a place a third of the
    golden ones calibrates and is golden no more.

    `unlabelled`: nothing is said to be true of them. Raises DataError for fewer than eight golden samples, or none to
    calibrate with.
    """
    found = _records(_read(task, golden, unlabelled), golden, "val")
    most = FEWEST if calibration else FEWEST + FEWEST // (CALIBRATION_PART - 1)
    if len(found) < most:
        raise DataError(
            f"`{golden}` holds {len(found)} samples, fewer than {most}",
            hint=f"{FEWEST} are judged by, and others calibrate: add some, or name others with `--calibration`",
        )
    if calibration is None:
        count = min(len(found) // CALIBRATION_PART, MOST_TO_CALIBRATE)
        chosen = {each.path for each in stratified([record for record, _ in found], count, seed)}
        pairs = [(_moved(record) if record.path in chosen else record, read) for record, read in found]
    else:
        known = {record.sha256 for record, _ in found}
        others = [
            (record, read)
            for record, read in _records(_read(task, calibration, unlabelled), calibration, "train")
            if record.sha256 not in known
        ]
        if not others:
            raise DataError(f"`{calibration}` holds no sample that is not golden too", hint="calibrate with others")
        kept = stratified([record for record, _ in others], MOST_TO_CALIBRATE, seed)
        paths = {each.path for each in kept}
        pairs = [*found, *(pair for pair in others if pair[0].path in paths)]
    return Samples(records=tuple(record for record, _ in pairs), labelled={record.path: read for record, read in pairs})


def _read(task: Task, source: Path, unlabelled: bool) -> Sequence[Labelled]:
    if unlabelled:
        return [Labelled(sample=sample) for sample in task.unlabelled(source)]
    try:
        return task.labelled(source)
    except DataError as error:
        raise DataError(
            error.message,
            hint=f"{error.hint}; or, where nobody labelled them, say `--unlabelled`" if error.hint else None,
        ) from error


def _records(read: Sequence[Labelled], source: Path, split: str) -> list[tuple[SampleRecord, Labelled]]:
    """Each content once, in order; a path begins with its split, so that no two are alike."""
    found: dict[str, tuple[SampleRecord, Labelled]] = {}
    digests = in_order(lambda each: each.sha256(), read)
    for number, (each, digest) in enumerate(zip(read, digests, strict=True)):
        name = _name(each.sample, source, number)
        record = msgspec.convert(
            (f"{split}/{name}", each.label, split, digest, each.group), SampleRecord
        )  # fmt: skip
        found.setdefault(digest, (record, each))
    return list(found.values())


def _name(sample: Path | str, source: Path, number: int) -> str:
    """A photo by its path, a text by its number."""
    if isinstance(sample, str):
        return str(number)
    return sample.relative_to(source).as_posix() if sample.is_relative_to(source) else sample.as_posix()


def _moved(record: SampleRecord) -> SampleRecord:
    return msgspec.structs.replace(record, split="train")
