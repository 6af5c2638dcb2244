"""A run: the folder `finetune` writes and `export` reads."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from edgetl.errors import ArtefactError
from edgetl.files import read_json, sha256_of, write_via
from edgetl.tasks import Task

SCHEMA = "1.0"
MAJOR = 1

FILES = ("task.json", "samples.json", "weights.safetensors")

BLOCK = 4096
"""So many samples are encoded at a time."""

Split = Literal["train", "val", "test"]


class BoxRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One object of a photo: its label index, and left, top, right, bottom in pixels of the photo.

    `ignored`: an object that counts neither as found nor as missed (Pascal VOC's difficult, COCO's crowd).
    """

    label: int
    left: float
    top: float
    right: float
    bottom: float
    ignored: bool = False


class SampleRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One sample of the data set: path relative to the root, label index, split, SHA-256 of its content.

    A text has the number of its row as path. A photo with boxes has the label of most of them. `group` is what the
    sample belongs to (a patient, a video), empty when unknown.
    """

    path: str
    label: int
    split: Split
    sha256: str
    group: str = ""


class DataRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Which images a run saw. `fingerprint` covers every path, label, split and content."""

    root: str
    fingerprint: str
    counts: dict[str, int]
    split_from_train: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


class WeightsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Where the starting weights come from and under which terms.

    `origin`: a file's name, or what published them; `url`: where they were published, empty for a file of the user's.
    `licence`: as the weights' own metadata or their publisher state it, else `unknown`.
    """

    origin: str
    sha256: str
    licence: str
    notes: tuple[str, ...] = ()
    url: str = ""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json`: what was done, with what, and how well it went. Metrics are fractions of 1.

    `files`: the SHA-256 of every file that export reads. `metric`: which of the metrics choices were made by.
    `reason`: why this strategy, where it was not the user's. `findings`: what there is to say about the data.
    """

    schema: str
    name: str
    strategy: str
    backbone: str
    seed: int
    weights: WeightsRecord
    files: dict[str, str]
    data: DataRecord
    metrics: dict[str, float]
    headline: str
    compute: dict[str, str | int | float]
    versions: dict[str, str]
    metric: str = "top1"
    reason: str = ""
    findings: tuple[str, ...] = ()


def texts(path: Path) -> list[str]:
    """`texts.json` of the run `path`: the texts in the order of its samples."""
    return read_json(path / "texts.json", list[str])


def boxes(path: Path) -> list[tuple[BoxRecord, ...]]:
    """`boxes.json` of the run `path`: the objects of each photo in the order of its samples."""
    return read_json(path / "boxes.json", list[tuple[BoxRecord, ...]])


def write_samples(path: Path, samples: Iterable[SampleRecord]) -> None:
    """Writes `samples.json` whole or not at all, a block at a time, so that memory does not grow with the data set."""

    def pieces() -> Iterator[bytes]:
        remaining, between = iter(samples), b"["
        while block := list(islice(remaining, BLOCK)):
            yield between + b",\n".join(map(msgspec.json.encode, block))
            between = b",\n"
        yield b"]\n" if between != b"[" else b"[]\n"

    write_via(path, lambda stream: stream.writelines(pieces()))


def _check_file(path: Path, digest: str | None) -> None:
    if not path.is_file():
        raise ArtefactError(f"`{path}` is missing", hint="run `edgetl finetune` again")
    if sha256_of(path) != digest:
        raise ArtefactError(f"`{path}` is not what run.json says", hint="run `edgetl finetune` again")


def open_run(path: Path) -> tuple[Run, Task, list[SampleRecord]]:
    """Reads `run.json`, `task.json` and `samples.json`. Raises ArtefactError when one is missing or damaged."""
    if not (path / "run.json").is_file():
        what = "has no run.json" if path.is_dir() else "is a file" if path.exists() else "does not exist"
        raise ArtefactError(f"`{path}` {what}", hint="`edgetl finetune DATA -o RUN` writes a run")
    run = read_json(path / "run.json", Run, major=MAJOR)
    for name in FILES:
        _check_file(path / name, run.files.get(name))
    task: Task = read_json(path / "task.json", cast("type[Any]", Task))
    for name in (*task.files, *task.records):
        _check_file(path / name, run.files.get(name))
    samples = read_json(path / "samples.json", list[SampleRecord])
    if any(not 0 <= sample.label < len(task.labels) for sample in samples):
        raise ArtefactError(
            f"`{path / 'samples.json'}` names a label that task.json does not have", hint="run `edgetl finetune` again"
        )
    return run, task, samples
