"""The golden set: the samples that travel with a bundle, and the reference's answers to them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from edgetl.devices.answers import digest_key
from edgetl.export.metadata import without_metadata
from edgetl.export.networks.network import Answering, Network
from edgetl.export.samples import generated
from edgetl.export.source import Source
from edgetl.files import write_bytes, write_via
from edgetl.manifest import GoldenRecord
from edgetl.run import SampleRecord
from edgetl.tasks import Task
from edgetl.tasks.images import Sample
from edgetl.tasks.inputs import Inputs
from edgetl.types import Array, Track

GoldenKind = Literal["validation", "synthetic", "none"]

MAX_SAMPLES = 256
SYNTHETIC_SAMPLES = 64
ENCODED = 32
"""So many of the samples also travel encoded, which proves the decoder or tokeniser; photos without metadata."""

MAX_ENCODED_BYTES = 4 * 2**20
HYPOTHESIS_SAMPLES = 64
BATCH = 8


class GoldenSet(msgspec.Struct, frozen=True, kw_only=True):
    """The samples in memory: inputs, what is true of them (validation only), and the first ones' encoded bytes."""

    kind: GoldenKind
    inputs: Inputs
    truths: Array | None
    digests: Array | None
    encoded: tuple[tuple[str, bytes], ...]


def stratified(samples: Sequence[SampleRecord], count: int, seed: int) -> list[SampleRecord]:
    """Up to `count` samples that take turns through the classes, in a seeded order."""
    rng = np.random.default_rng(seed)
    shuffled = [samples[i] for i in rng.permutation(len(samples))]
    turns: dict[int, int] = {}
    ranked = []
    for sample in shuffled:
        turns[sample.label] = turns.get(sample.label, 0) + 1
        ranked.append((turns[sample.label], sample))
    return [sample for _, sample in sorted(ranked, key=lambda pair: pair[0])][:count]


def validation_golden(source: Source, seed: int) -> GoldenSet:
    """Real samples of the validation split, those that also travel encoded first."""
    chosen = stratified(source.split("val"), MAX_SAMPLES, seed)
    small = [each for each in chosen if _size(source.labelled(each).sample) <= MAX_ENCODED_BYTES][:ENCODED]
    ordered = small + [sample for sample in chosen if sample not in small]
    read = [source.labelled(sample) for sample in ordered]
    bare = [_encoded(each.sample) for each in read[: len(small)]]
    prepared = [source.preparation([each.sample]) for each in read]
    sizes = [size for each in prepared for size in each.sizes]
    return GoldenSet(
        kind="validation",
        inputs=Inputs(feeds=source.task.join([each.feeds for each in prepared]), task=source.task),
        truths=source.task.packed(source.task.truths(read, sizes)),
        digests=np.array([digest_key(sample.sha256) for sample in ordered], np.uint64),
        encoded=tuple((f"golden/samples/{i:04}{suffix}", content) for i, (content, suffix) in enumerate(bare)),
    )


def _size(sample: Path | str) -> int:
    return sample.stat().st_size if isinstance(sample, Path) else len(sample.encode())


def _encoded(sample: Path | str) -> tuple[bytes, str]:
    """What travels of a sample, and the suffix of its file."""
    return without_metadata(sample.read_bytes()) if isinstance(sample, Path) else (sample.encode(), ".txt")


def synthetic_golden(source: Source, seed: int) -> GoldenSet:
    """Generated samples: noise in place of photos, random words in place of texts."""
    made = generated(source.task)
    contents = made.stand_ins(source.task, source.preparation, SYNTHETIC_SAMPLES, seed)
    encoded = tuple((f"golden/samples/{i:04}{made.suffix}", each) for i, each in enumerate(contents[:ENCODED]))
    return GoldenSet(
        kind="synthetic", inputs=_inputs(source, contents), truths=None, digests=None, encoded=encoded
    )  # fmt: skip


def _inputs(source: Source, samples: Sequence[Sample]) -> Inputs:
    parts = [source.preparation([sample]).feeds for sample in samples]
    return Inputs(feeds=source.task.join(parts), task=source.task)


def reference_answers(network: Network, task: Task, inputs: Inputs, track: Track) -> dict[str, Array]:
    """What the network answers to all samples, and to the first ones under each fault hypothesis."""
    answers = answers_to(network.answer, inputs, task)
    hypotheses = network.under()
    for name, wrong in track(hypotheses.items(), "fault hypotheses", len(hypotheses)):
        found = answers_to(wrong, inputs.first(HYPOTHESIS_SAMPLES), task)
        answers |= {f"{output} under {name}": array for output, array in found.items()}
    return answers


def answers_to(answering: Answering, inputs: Inputs, task: Task) -> dict[str, Array]:
    """The outputs that the task compares, a row for each sample."""
    parts = [answering(batch) for batch in inputs.batches(BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in task.compared}


def write_golden(folder: Path, golden: GoldenSet | None, answers: dict[str, Array], source: Source) -> GoldenRecord:
    """Writes golden/: samples.npz and samples/ of the golden set, if there is one, and the probes."""
    (folder / "golden" / "probes").mkdir(parents=True)
    if golden:
        (folder / "golden" / "samples").mkdir()
    tests = generated(source.task).probes(source.task, source.preparation)
    encoded = golden.encoded if golden else ()
    for relative, content in (*encoded, *tests):
        write_bytes(folder / relative, content)
    _save(folder / "golden" / "probes.npz", dict(_inputs(source, [content for _, content in tests]).feeds))
    if golden:
        known = {"labels": golden.truths, "digests": golden.digests}
        arrays = {**golden.inputs.feeds, "names": np.array(source.task.labels), **answers}
        arrays |= {name: value for name, value in known.items() if value is not None}
        _save(folder / "golden" / "samples.npz", arrays)
    return GoldenRecord(
        kind=golden.kind if golden else "none",
        samples=len(golden.inputs) if golden else 0,
        encoded=tuple(relative for relative, _ in encoded),
        decoder=source.task.reader(),
        probes=tuple(relative for relative, _ in tests),
    )


def _save(path: Path, arrays: dict[str, Array]) -> None:
    write_via(path, lambda stream: np.savez_compressed(stream, **arrays))  # type: ignore[arg-type]
