"""What a bundle is made from: a network that answers in fp32, its task, and samples of it.

Nothing here needs torch: a source may be a run of `finetune` (`open_source`) or a model from elsewhere
(`edgetl.export.adopt`). Samples are files or texts with what is true of them; `preparation` makes inputs of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgetl.errors import DataError
from edgetl.export.networks import GraphWishes, Network, open_network
from edgetl.manifest import SourceRecord
from edgetl.run import BoxRecord, Run, SampleRecord, WeightsRecord, boxes, open_run, texts
from edgetl.tasks import Task
from edgetl.tasks.detections import Found
from edgetl.tasks.inputs import Inputs
from edgetl.tasks.labelled import Labelled
from edgetl.tasks.loading import prepare_samples
from edgetl.tasks.preparation import Preparation, Prepared
from edgetl.types import Array, Track

AGAIN = "run `edgetl finetune` again"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What the manifest says of where the model comes from; as in `SourceRecord`."""

    run: str
    strategy: str
    backbone: str
    data_fingerprint: str
    weights: WeightsRecord
    model_sha256: str

    def record(self, calibration: Mapping[str, str | int | bool], options: Mapping[str, object]) -> SourceRecord:
        """The manifest's record, with how the variants were calibrated and what export was asked."""
        return msgspec.convert(
            {**msgspec.structs.asdict(self), "calibration": dict(calibration), "options": dict(options)}, SourceRecord
        )


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """`samples` of all splits; `labelled` says what a sample is and what is true of it. `files`: those that the task
    names, by name. `libraries` made the network. `unchanged` raises DataError for samples that are no longer as they
    were.
    """

    origin: Origin
    task: Task
    network: Network
    samples: Sequence[SampleRecord]
    labelled: Callable[[SampleRecord], Labelled]
    files: Mapping[str, Path]
    libraries: tuple[str, ...]

    @property
    def preparation(self) -> Preparation:
        """How samples become inputs."""
        return self.task.preparation(lambda name: self.files[name])

    def split(self, name: str) -> list[SampleRecord]:
        return [sample for sample in self.samples if sample.split == name]


def open_source(path: Path, data: Path | None, wishes: GraphWishes = GraphWishes()) -> Source:  # noqa: B008 # frozen
    """Reads the run and rebuilds its model. `data` is the data folder if it moved since. Raises ArtefactError."""
    run, task, samples = open_run(path)
    root = data or Path(run.data.root)
    network, task = open_network(path, run, task, wishes)
    return Source(
        origin=_origin(run),
        task=task,
        network=network,
        samples=samples,
        labelled=_reading(path, task, samples, root),
        files={name: path / name for name in task.files},
        libraries=("torch",),
    )


def _origin(run: Run) -> Origin:
    return Origin(
        run=run.name,
        strategy=run.strategy,
        backbone=run.backbone,
        data_fingerprint=run.data.fingerprint,
        weights=run.weights,
        model_sha256=run.files["weights.safetensors"],
    )


def _reading(path: Path, task: Task, samples: Sequence[SampleRecord], root: Path) -> Callable[[SampleRecord], Labelled]:
    """Where a run keeps its samples: texts and boxes in its own records, photos in the data folder."""
    said = {name: RECORDS[name](path) for name in task.records}
    place = {sample.path: number for number, sample in enumerate(samples)}

    def read(sample: SampleRecord) -> Labelled:
        number = place[sample.path]
        text = said["texts.json"][number] if "texts.json" in said else None
        objects = _objects(said["boxes.json"][number]) if "boxes.json" in said else None
        where = root / sample.path if text is None else str(text)
        return Labelled(sample=where, label=sample.label, objects=objects, group=sample.group)

    return read


RECORDS: dict[str, Callable[[Path], Sequence[object]]] = {"texts.json": texts, "boxes.json": boxes}
"""How each record of a run is read: an element for each sample."""


def _objects(found: object) -> Found:
    """The objects of a photo; those that count neither as found nor as missed have the score 0."""
    rows = msgspec.convert(found, tuple[BoxRecord, ...])
    return Found(
        boxes=np.array([[each.left, each.top, each.right, each.bottom] for each in rows], float).reshape(-1, 4),
        scores=np.array([0.0 if each.ignored else 1.0 for each in rows]),
        classes=np.array([each.label for each in rows], np.int64),
    )


def check_unchanged(source: Source, samples: Sequence[SampleRecord]) -> None:
    """Every sample must be there with the content finetune saw. Raises DataError."""
    for sample in samples:
        read = source.labelled(sample)
        if isinstance(read.sample, Path) and not read.sample.is_file():
            raise DataError(
                f"`{read.sample}` is not there (it was, in the run)", hint="`--data` is for a data folder that moved"
            )
        if read.sha256() != sample.sha256:
            raise DataError(f"`{read.sample}` changed since the run", hint=AGAIN)


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Samples as inputs, and what is true of each, as the task's `findings` are."""

    inputs: Inputs
    truths: Array


def known(source: Source, samples: Sequence[SampleRecord], track: Track, what: str) -> Known:
    """Reads some samples, at least one. Raises DataError for one that cannot be prepared."""
    read = [source.labelled(sample) for sample in samples]
    parts = list(track(prepared(source, read), what, len(samples)))
    sizes = [size for part in parts for size in part.sizes]
    inputs = Inputs(feeds=source.task.join([part.feeds for part in parts]), task=source.task)
    return Known(inputs=inputs, truths=source.task.truths(read, sizes))


def prepared(source: Source, read: Sequence[Labelled]) -> Iterator[Prepared]:
    """The inputs of each sample alone. Raises DataError for one that cannot be prepared."""
    for each in prepare_samples((one.sample for one in read), source.preparation):
        if isinstance(each, DataError):
            raise each
        yield each
