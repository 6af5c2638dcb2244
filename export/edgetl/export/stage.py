"""The stage: (run) → bundle. Every variant is opened and judged before the manifest is written."""

import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
from msgspec import structs

from edgetl import plugins
from edgetl.bundle import Bundle, file_records, write_manifest
from edgetl.devices.profile import Profile
from edgetl.devices.verdict import Report
from edgetl.export.config import ExportConfig, ExportResult, chosen_variants, for_device, judging_profile
from edgetl.export.content import source_record, write_content, write_graph
from edgetl.export.escalation import Made, escalate
from edgetl.export.outcome import listed, with_verdicts
from edgetl.export.report import write_report
from edgetl.export.selection import Selection, TrainingImages, training_images
from edgetl.export.source import Source, check_unchanged, open_source, pixels_of
from edgetl.export.workshop import Workshop
from edgetl.finetune.graph import deploy, torch_predictor
from edgetl.manifest import CalibrationPoint, Manifest, Quantisation
from edgetl.run import SampleRecord
from edgetl.staging import check_target, staged_directory
from edgetl.types import Track, silent

DEFAULT_CALIBRATION = 128
"""Where the curve cannot be measured: without ONNX Runtime, or without images to spare."""


def export(
    run: Path, out: Path, config: ExportConfig, *, overwrite: bool = False, track: Track = silent
) -> tuple[ExportResult, Report]:
    """Writes the bundle `out`, whole or not at all, and judges its variants on this machine.

    An int8 variant that loses more than allowed is made again with more effort until it holds or nothing is left.
    Raises ConfigError, DependencyError, ArtefactError, DataError or EngineError.
    """
    began = time.perf_counter()
    check_target(out, overwrite=overwrite, inputs=(run,))
    config = for_device(config)
    names, refused = chosen_variants(config.variants, config.device)
    profile = judging_profile(config)
    source = open_source(run, Path(config.data) if config.data else None)
    images = training_images(source.split("train"), config.seed, config.calibration_samples)
    check_unchanged(source.root, [*images.calibration, *images.selection, *source.split("val")])
    deployed = deploy(source.model, source.task, embedding=config.embedding)
    with staged_directory(out, overwrite=overwrite) as staging, tempfile.TemporaryDirectory() as work:
        draft = write_content(staging, source, deployed, config, names, track)
        for _ in track([0], "torch → ONNX", 1):
            write_graph(deployed, source, config, Path(work) / "source.onnx")
        with closing(_open_workshop(staging, Path(work), source, config, profile, images, track)) as workshop:
            recipe, curve = _recipe(workshop, config)
            draft = structs.replace(
                draft,
                variants=tuple(workshop.convert(name, recipe) for name in track(names, "convert", len(names))),
                refused=refused,
                calibration_curve=curve,
                source=source_record(source, config, images.calibration[: recipe.samples]),
            )
            draft, report = _hold(workshop, draft, profile, config)
        report = structs.replace(report, bundle=str(out))
        manifest = with_verdicts(draft, report, profile)
        write_report(staging / "report.html", Bundle(staging, manifest), report)
        write_manifest(staging, manifest)
    seconds = round(time.perf_counter() - began, 3)
    return ExportResult(
        bundle=str(out), seconds=seconds, variants=listed(Bundle(out, manifest), report, profile)
    ), report


def _open_workshop(
    folder: Path,
    work: Path,
    source: Source,
    config: ExportConfig,
    profile: Profile,
    images: TrainingImages,
    track: Track,
) -> Workshop:
    calibration = pixels_of(images.calibration, source.root, source.task, track, "decode calibration images")

    def retrain(path: Path) -> None:
        from edgetl.export.quantisation.training import train_quantised  # only the last resort needs it

        deployed = deploy(source.model, source.task, embedding=config.embedding)
        write_graph(train_quantised(deployed, calibration, config.seed, track=track), source, config, path)

    return Workshop(
        folder,
        work,
        source,
        profile,
        calibration=calibration,
        selection=_selection(source, images.selection, track),
        per_tensor=config.per_tensor,
        retrain=retrain,
        track=track,
    )


def _selection(source: Source, samples: tuple[SampleRecord, ...], track: Track) -> Selection | None:
    """The images to choose by, answered by torch; None when there are none to spare."""
    if not samples:
        return None
    pixels = pixels_of(samples, source.root, source.task, track, "decode images to choose by")
    predict = torch_predictor(source.model, source.task)
    return Selection(
        pixels=pixels,
        truths=np.array([sample.label for sample in samples]),
        logits=np.concatenate([predict(pixels[i : i + 8]) for i in range(0, len(pixels), 8)]),
        temperature=source.task.temperature,
    )


def _recipe(workshop: Workshop, config: ExportConfig) -> tuple[Quantisation, tuple[CalibrationPoint, ...]]:
    """How int8 variants are made at first, and the curve their number of images was read from."""
    available = len(workshop.calibration_images)
    measured = config.calibration_samples is None and workshop.selection is not None
    if not measured or plugins.missing(plugins.ENGINES["onnxruntime"]):
        return Quantisation(samples=min(available, config.calibration_samples or DEFAULT_CALIBRATION)), ()
    from edgetl.export.quantisation.curve import calibration_curve, fewest_enough

    assert workshop.selection is not None
    curve = calibration_curve(workshop.calibration(Quantisation(samples=available)), workshop.selection)
    return Quantisation(samples=fewest_enough(curve)), curve


def _hold(workshop: Workshop, draft: Manifest, profile: Profile, config: ExportConfig) -> tuple[Manifest, Report]:
    """Judges all variants, and makes those int8 variants again that lose too much."""
    draft, report = workshop.judge(draft)
    if not config.escalate or workshop.selection is None:
        return draft, report
    max_drop = profile.accuracy.max_drop_points
    made = [
        Made(draft=draft, record=record, report=each)
        for record, each in zip(draft.variants, report.variants, strict=True)
    ]
    lossy = [each.record.precision == "int8" and each.report.verdict != "skipped" for each in made]
    if all(each.holds(max_drop) for each, judged in zip(made, lossy, strict=True) if judged):
        return draft, report
    held = [
        escalate(workshop, each, max_drop) if judged and not each.holds(max_drop) else each
        for each, judged in zip(made, lossy, strict=True)
    ]
    variants = tuple(each.record for each in held)
    draft = structs.replace(draft, variants=variants, files=file_records(workshop.folder))
    return draft, workshop.check(draft)
