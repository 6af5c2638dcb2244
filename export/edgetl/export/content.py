"""What a bundle holds beside its variants: their common graph, the golden set, labels, and where it comes from."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from edgetl import plugins
from edgetl.export.config import ExportConfig
from edgetl.export.golden import synthetic_golden, torch_answers, validation_golden, write_golden
from edgetl.export.graph import finish
from edgetl.export.installed import library_version
from edgetl.export.source import Source
from edgetl.export.targets import parse_variant
from edgetl.files import write_bytes
from edgetl.finetune.graph import INPUT, DeployedModel, export_onnx
from edgetl.manifest import SCHEMA, GoldenRecord, Manifest, SourceRecord
from edgetl.run import SampleRecord
from edgetl.types import TensorSpec, Track


def write_content(
    folder: Path, source: Source, deployed: DeployedModel, config: ExportConfig, names: Sequence[str], track: Track
) -> Manifest:
    """Golden set and labels of a bundle with the variants `names`; the manifest is a draft that lacks them."""
    task = source.task
    golden = _write_golden(folder, source, config, track)
    write_bytes(folder / "labels.txt", "".join(f"{label}\n" for label in task.labels).encode())
    shape = (task.input.height, task.input.width, 3)
    libraries = ("edgetl", "torch", "onnx", *sorted({lib for n in names for lib in _libraries(n)}))
    return Manifest(
        schema=SCHEMA,
        task=task,
        inputs=(TensorSpec(name=INPUT, dtype="uint8", shape=("batch", *shape)),),
        outputs=tuple(
            TensorSpec(name=name, dtype="float32", shape=("batch", width)) for name, width in _widths(deployed, source)
        ),
        variants=(),
        golden=golden,
        source=source_record(source, config, ()),
        versions={library: library_version(library) for library in libraries},
        files=(),
    )


def write_graph(deployed: DeployedModel, source: Source, config: ExportConfig, path: Path) -> None:
    """The fp32 ONNX file every variant is made from."""
    size = source.task.input
    export_onnx(deployed, size.height, size.width, path, opset=config.opset)
    finish(path)


def source_record(source: Source, config: ExportConfig, calibration: Sequence[SampleRecord]) -> SourceRecord:
    """The run, the images that calibrated with one fingerprint of their contents, and what export was asked."""
    digest = hashlib.sha256("".join(sorted(sample.sha256 for sample in calibration)).encode())
    return SourceRecord(
        run=source.run.name,
        strategy=source.run.strategy,
        backbone=source.run.backbone,
        data_fingerprint=source.run.data.fingerprint,
        weights=source.run.weights,
        calibration={
            "samples": len(calibration),
            "from": "train",
            "seed": config.seed,
            "per_tensor": config.per_tensor,
            "fingerprint": digest.hexdigest(),
        },
        options=config.options(),
        model_sha256=source.run.files["weights.safetensors"],
    )


def _widths(deployed: DeployedModel, source: Source) -> list[tuple[str, int]]:
    """Each output with how many values an image has."""
    width = getattr(deployed.head, "in_features", 0)
    labels = len(source.task.labels)
    return [(name, width if name == "embedding" else labels) for name in deployed.outputs]


def _write_golden(folder: Path, source: Source, config: ExportConfig, track: Track) -> GoldenRecord:
    if config.golden == "none":
        return write_golden(folder, None, {}, source.task)
    if config.golden == "synthetic":
        golden = synthetic_golden(source.task, config.seed)
    else:
        golden = validation_golden(source.split("val"), source.root, source.task, config.seed)
    answers = torch_answers(source.model, source.task, golden.pixels, track)
    return write_golden(folder, golden, answers, source.task)


def _libraries(variant: str) -> tuple[str, ...]:
    return plugins.TARGETS[parse_variant(variant)[0]].needs
