"""An imported file as the source of a bundle: read, its answers understood, its samples gathered."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from onnx import ModelProto

from edgetl.export.adopt.config import AdoptConfig
from edgetl.export.adopt.kinds import KINDS, AdoptedKind, Inlet
from edgetl.export.adopt.labels import read_labels
from edgetl.export.adopt.network import AdoptedNetwork
from edgetl.export.adopt.original import Original
from edgetl.export.adopt.reading import read_model
from edgetl.export.adopt.samples import FEWEST, Samples, gather
from edgetl.export.golden import stratified
from edgetl.export.source import Origin, Source
from edgetl.files import sha256_of
from edgetl.run import WeightsRecord
from edgetl.tasks.inputs import Inputs
from edgetl.types import Outputs, Track, silent

LOOKED_AT = FEWEST
"""So many golden samples show what the answers mean, and that the rewritten graph gives the same."""

LICENCE_KEYS = ("license", "licence")


def open_adopted(path: Path, config: AdoptConfig, *, seed: int = 0, track: Track = silent) -> Source:
    """The ONNX file `path` as a source whose `val` is golden and whose `train` calibrates.

    Raises ConfigError, ArtefactError, DataError or EngineError for what cannot be adopted, with the reason.
    """
    kind, model, labels = KINDS[config.task], read_model(path), read_labels(Path(config.labels))
    original = Original(path)
    inlet = kind.inlet(original, config, labels)
    place = Path(config.calibration) if config.calibration else None
    samples = gather(inlet.task, Path(config.golden), place, unlabelled=config.unlabelled, seed=seed)
    some = _inputs(inlet, samples, seed)
    reading = kind.reading(original, model, _raw(original, inlet, some), inlet.task, config)
    if reading.inner is not None:
        original = Original(path, reading.inner)
    network = AdoptedNetwork(original, model, inlet.task, inlet.wiring, reading, some)
    if config.unlabelled:
        samples = _by_own_answers(samples, kind, inlet, network, track)
    return Source(
        origin=_origin(path, model, config, samples),
        task=inlet.task,
        network=network,
        samples=samples.records,
        labelled=lambda record: samples.labelled[record.path],
        files=inlet.files,
        libraries=("onnxruntime",),
    )


def _inputs(inlet: Inlet, samples: Samples, seed: int) -> Inputs:
    golden = [record for record in samples.records if record.split == "val"]
    prepare = inlet.task.preparation(lambda name: inlet.files[name])
    chosen = stratified(golden, LOOKED_AT, seed)
    parts = [prepare([samples.labelled[record.path].sample]).feeds for record in chosen]
    return Inputs(feeds=inlet.task.join(parts), task=inlet.task)


def _raw(original: Original, inlet: Inlet, some: Inputs) -> Sequence[Outputs]:
    """What the file itself answers to each of some samples."""
    rows = (inlet.task.take(some.feeds, np.array([i])) for i in range(len(some)))
    return [original.run(inlet.wiring.feed(row)) for row in rows]


def _by_own_answers(
    samples: Samples, kind: AdoptedKind, inlet: Inlet, network: AdoptedNetwork, track: Track
) -> Samples:
    """The samples with the model's own answers as what is true of them."""
    prepare = inlet.task.preparation(lambda name: inlet.files[name])
    labelled, records = {}, []
    for record in track(samples.records, "the model's own answers", len(samples.records)):
        sample = samples.labelled[record.path]
        answered = network.answer(prepare([sample.sample]).feeds)
        labelled[record.path] = kind.truth(sample, answered, inlet.task)
        records.append(msgspec.structs.replace(record, label=labelled[record.path].label))
    return Samples(records=tuple(records), labelled=labelled)


def _origin(path: Path, model: ModelProto, config: AdoptConfig, samples: Samples) -> Origin:
    """`strategy` says what the model is judged by; the licence is what the file's own metadata say."""
    said = {entry.key.lower(): entry.value for entry in model.metadata_props}
    licence = config.licence or next((said[key] for key in LICENCE_KEYS if said.get(key)), "unknown")
    digest = sha256_of(path)
    made = " ".join(part for part in (model.producer_name, model.producer_version) if part)
    return Origin(
        run="adopted",
        strategy="adopted, judged by its own answers" if config.unlabelled else "adopted",
        backbone=path.name,
        data_fingerprint=samples.fingerprint(),
        weights=WeightsRecord(
            origin=path.name, sha256=digest, licence=licence, notes=(f"written by {made}",) if made else ()
        ),
        model_sha256=digest,
    )
