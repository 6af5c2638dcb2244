"""What a bundle holds beside its variants: their common graph, the golden set, labels, and where it comes from."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from edgetl import plugins
from edgetl.export.config import ExportConfig
from edgetl.export.golden import reference_answers, synthetic_golden, validation_golden, write_golden
from edgetl.export.installed import library_version
from edgetl.export.source import Source
from edgetl.export.targets import parse_variant
from edgetl.files import write_bytes
from edgetl.manifest import SCHEMA, GoldenRecord, Manifest, SourceRecord
from edgetl.run import SampleRecord
from edgetl.types import Track


def write_content(folder: Path, source: Source, config: ExportConfig, names: Sequence[str], track: Track) -> Manifest:
    """Golden set, labels and the task's own files of a bundle with the variants `names`; the manifest is a draft that
    lacks them.
    """
    task = source.task
    golden = _write_golden(folder, source, config, track)
    write_bytes(folder / "labels.txt", "".join(f"{label}\n" for label in task.labels).encode())
    for name in task.files:
        write_bytes(folder / name, source.files[name].read_bytes())
    libraries = ("edgetl", *source.libraries, "onnx", *sorted({lib for n in names for lib in _libraries(n)}))
    return Manifest(
        schema=SCHEMA,
        task=task,
        inputs=task.inputs,
        outputs=source.network.outputs,
        variants=(),
        golden=golden,
        source=source_record(source, config, ()),
        versions={library: library_version(library) for library in libraries},
        files=(),
    )


def source_record(source: Source, config: ExportConfig, calibration: Sequence[SampleRecord]) -> SourceRecord:
    """The origin, the samples that calibrated with one fingerprint of their contents, and what export was asked."""
    digest = hashlib.sha256("".join(sorted(sample.sha256 for sample in calibration)).encode())
    calibrated: dict[str, str | int | bool] = {
        "samples": len(calibration),
        "from": "train",
        "seed": config.seed,
        "per_tensor": config.per_tensor,
        "fingerprint": digest.hexdigest(),
    }
    return source.origin.record(calibrated, config.options())


def _write_golden(folder: Path, source: Source, config: ExportConfig, track: Track) -> GoldenRecord:
    if config.golden == "none":
        return write_golden(folder, None, {}, source)
    made = synthetic_golden if config.golden == "synthetic" else validation_golden
    golden = made(source, config.seed)
    answers = reference_answers(source.network, source.task, golden.inputs, track)
    return write_golden(folder, golden, answers, source)


def _libraries(variant: str) -> tuple[str, ...]:
    return plugins.TARGETS[parse_variant(variant)[0]].needs
