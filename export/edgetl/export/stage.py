"""The stage: (run) → bundle. Every variant is opened and judged before the manifest is written."""

import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from edgetl import plugins
from edgetl.bundle import Bundle, write_manifest
from edgetl.devices.check import check
from edgetl.devices.profile import host_profile
from edgetl.devices.verdict import Report, VariantReport
from edgetl.errors import ConfigError, DependencyError
from edgetl.export.golden import (
    GoldenKind,
    stratified,
    synthetic_golden,
    torch_answers,
    validation_golden,
    write_golden,
)
from edgetl.export.judge import record_answers
from edgetl.export.report import write_report
from edgetl.export.source import Source, check_unchanged, open_source, pixels_of
from edgetl.export.targets import Calibration, load_target, parse_variant
from edgetl.files import write_bytes
from edgetl.finetune.graph import INPUT, deploy, export_onnx
from edgetl.manifest import SCHEMA, GoldenRecord, Manifest, SourceRecord, VariantRecord
from edgetl.staging import check_target, staged_directory
from edgetl.types import TensorSpec, Track, silent

DEFAULT_VARIANTS = ("onnxruntime-fp32", "onnxruntime-int8", "openvino-fp32", "openvino-int8")


class ExportConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What `export` is asked to do. `variants` None: all whose libraries are installed.

    `seed` draws the calibration and the golden samples. `data` is the data folder if it moved since the run.
    """

    variants: tuple[str, ...] | None = None
    golden: GoldenKind = "validation"
    calibration_samples: int = 128
    per_tensor: bool = False
    seed: int = 0
    data: str | None = None


class ExportedVariant(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    engine: str
    precision: str
    size_bytes: int
    status: str
    verdict: str
    reason: str


class ExportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `export --json` prints."""

    bundle: str
    seconds: float
    variants: tuple[ExportedVariant, ...]


def export(
    run: Path, out: Path, config: ExportConfig, *, overwrite: bool = False, track: Track = silent
) -> tuple[ExportResult, Report]:
    """Writes the bundle `out`, whole or not at all, and judges its variants on this machine.

    Raises ConfigError, DependencyError, ArtefactError, DataError or EngineError.
    """
    began = time.perf_counter()
    check_target(out, overwrite=overwrite, inputs=(run,))
    if config.calibration_samples < 1:
        raise ConfigError("`--calibration-samples` must be at least 1")
    names = _chosen_variants(config.variants)
    source = open_source(run, Path(config.data) if config.data else None)
    profile = host_profile()
    with staged_directory(out, overwrite=overwrite) as staging:
        draft = _write_content(staging, source, config, names, track)
        draft = record_answers(staging, draft, source, profile, track)
        report = check(Bundle(staging, draft), profile, latency=None, track=track)
        report = msgspec.structs.replace(report, bundle=str(out))
        manifest = _with_verdicts(draft, report)
        write_report(staging / "report.html", Bundle(staging, manifest), report)
        write_manifest(staging, manifest)
    bundle = Bundle(out, manifest)
    listed = tuple(
        ExportedVariant(
            id=variant.id,
            engine=variant.engine,
            precision=variant.precision,
            size_bytes=bundle.size_bytes(variant),
            status=variant.status,
            verdict=variant.verdict,
            reason=variant.reason,
        )
        for variant in manifest.variants
    )
    return ExportResult(bundle=str(out), seconds=round(time.perf_counter() - began, 3), variants=listed), report


def _chosen_variants(asked: Sequence[str] | None) -> list[str]:
    """The variants asked for; else all whose target is installed, of which there must be one."""
    if asked is not None:
        for name in dict.fromkeys(asked):
            load_target(parse_variant(name)[0])
        return list(dict.fromkeys(asked))
    possible = [n for n in DEFAULT_VARIANTS if not plugins.missing(plugins.TARGETS[parse_variant(n)[0]])]
    if not possible:
        raise DependencyError(
            "no engine to export for is installed", hint="install `edgetl[openvino]` or another engine"
        )
    return possible


def _write_content(folder: Path, source: Source, config: ExportConfig, names: Sequence[str], track: Track) -> Manifest:
    """Everything but the manifest, which is returned as a draft without verdicts and file list."""
    task = source.task
    calibration_samples = stratified(source.split("train"), config.calibration_samples, config.seed)
    check_unchanged(source.root, [*calibration_samples, *source.split("val")])
    golden = _write_golden(folder, source, config, track)
    write_bytes(folder / "labels.txt", "".join(f"{label}\n" for label in task.labels).encode())
    graph = folder / "source.onnx"
    for _ in track([0], "torch → ONNX", 1):
        export_onnx(deploy(source.model, task), task.input.height, task.input.width, graph)
    pixels = pixels_of(calibration_samples, source.root, task, track, "decode calibration images")
    calibration = Calibration(pixels=pixels, per_tensor=config.per_tensor)
    variants = [_convert(name, graph, folder, calibration) for name in track(names, "convert", len(names))]
    graph.unlink()
    shape = (task.input.height, task.input.width, 3)
    libraries = ("edgetl", "torch", "onnx", *sorted({lib for n in names for lib in _libraries(n)}))
    return Manifest(
        schema=SCHEMA,
        task=task,
        inputs=(TensorSpec(name=INPUT, dtype="uint8", shape=("batch", *shape)),),
        outputs=tuple(
            TensorSpec(name=name, dtype="float32", shape=("batch", len(task.labels)))
            for name in ("logits", "probabilities")
        ),
        variants=tuple(variants),
        golden=golden,
        source=_source_record(source, config, len(calibration_samples)),
        versions={library: _version(library) for library in libraries},
        files=(),
    )


def _write_golden(folder: Path, source: Source, config: ExportConfig, track: Track) -> GoldenRecord:
    if config.golden == "none":
        return write_golden(folder, None, {}, source.task)
    if config.golden == "synthetic":
        golden = synthetic_golden(source.task, config.seed)
    else:
        golden = validation_golden(source.split("val"), source.root, source.task, config.seed)
    answers = torch_answers(source.model, source.task, golden.pixels, track)
    return write_golden(folder, golden, answers, source.task)


def _convert(name: str, graph: Path, folder: Path, calibration: Calibration) -> VariantRecord:
    engine, precision = parse_variant(name)
    target = load_target(engine)
    (folder / name).mkdir()
    files = target.convert(graph, folder / name, precision, calibration)
    return VariantRecord(
        id=name,
        engine=engine,
        precision=precision,
        files=tuple(f"{name}/{file}" for file in files),
        options=target.options(precision),
        engine_version=_version(engine),
        status="unverified",
        verdict="undecided",
    )


def _libraries(variant: str) -> tuple[str, ...]:
    return plugins.TARGETS[parse_variant(variant)[0]].needs


def _version(library: str) -> str:
    """ONNX Runtime is one module with two distributions."""
    for name in (library, f"{library}-gpu"):
        try:
            return version(name)
        except ModuleNotFoundError:
            continue
    return "unknown"


def _source_record(source: Source, config: ExportConfig, samples: int) -> SourceRecord:
    return SourceRecord(
        run=source.run.name,
        strategy=source.run.strategy,
        backbone=source.run.backbone,
        data_fingerprint=source.run.data.fingerprint,
        weights=source.run.weights,
        calibration={
            "samples": samples,
            "from": "train",
            "seed": config.seed,
            "per_tensor": config.per_tensor,
        },
    )


def _with_verdicts(draft: Manifest, report: Report) -> Manifest:
    """The final manifest: what `check` said of each variant on this machine."""
    reports = {variant.id: variant for variant in report.variants}
    variants = tuple(_with_verdict(variant, reports[variant.id]) for variant in draft.variants)
    return msgspec.structs.replace(draft, variants=variants)


def _with_verdict(variant: VariantRecord, report: VariantReport) -> VariantRecord:
    reasons = [reason for reason in report.reasons if reason.verdict == report.verdict]
    text = "; ".join(f"{r.layer}: {r.text}" + (f" ({r.cause})" if r.cause else "") for r in reasons)
    status = {"skipped": "unverified", "fail": "failed"}.get(report.verdict, "verified")
    verdict = "undecided" if report.verdict == "skipped" else report.verdict
    return msgspec.structs.replace(variant, status=status, verdict=verdict, reason=text)
