"""The stage: (run) → bundle. Every variant is opened and judged before the manifest is written."""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from msgspec import structs

from edgetl import plugins
from edgetl.bundle import Bundle, file_records, write_manifest
from edgetl.devices.profile import Profile
from edgetl.devices.verdict import Report
from edgetl.export.config import ExportConfig, ExportResult, chosen_variants, for_device, judging_profile
from edgetl.export.content import source_record, write_content
from edgetl.export.escalation import Made, escalate
from edgetl.export.golden import answers_to
from edgetl.export.networks import GraphWishes
from edgetl.export.outcome import listed, with_verdicts
from edgetl.export.report import write_report
from edgetl.export.selection import Selection, TrainingImages, training_images
from edgetl.export.source import Source, check_unchanged, known, open_source
from edgetl.export.workshop import Workshop
from edgetl.manifest import CalibrationPoint, Manifest, Quantisation, VariantRecord
from edgetl.run import SampleRecord
from edgetl.staging import check_target, staged_directory
from edgetl.types import Track, silent

DEFAULT_CALIBRATION = 128
"""Where the curve cannot be measured: without ONNX Runtime, or without images to spare."""


def export(
    run: Path, out: Path, config: ExportConfig, *, overwrite: bool = False, track: Track = silent
) -> tuple[ExportResult, Report]:
    """Writes the bundle `out` of a run; as `make_bundle`."""
    wishes = GraphWishes(embedding=config.embedding, nms=config.nms)

    def opened() -> Source:
        return open_source(run, Path(config.data) if config.data else None, wishes)

    return make_bundle(opened, out, config, inputs=(run,), overwrite=overwrite, track=track)


def make_bundle(
    opened: Callable[[], Source],
    out: Path,
    config: ExportConfig,
    *,
    inputs: Sequence[Path],
    overwrite: bool = False,
    track: Track = silent,
) -> tuple[ExportResult, Report]:
    """Writes the bundle `out`, whole or not at all, and judges its variants on this machine.

    `opened` opens what it is made from, which lies in `inputs`. An int8 variant that loses more than allowed is made
    again with more effort until it holds or nothing is left.
    Raises ConfigError, DependencyError, ArtefactError, DataError or EngineError.
    """
    began = time.perf_counter()
    check_target(out, overwrite=overwrite, inputs=inputs)
    config = for_device(config)
    names, refused = chosen_variants(config.variants, config.device)
    profile = judging_profile(config)
    source = opened()
    images = training_images(source.split("train"), config.seed, config.calibration_samples)
    check_unchanged(source, [*images.calibration, *images.selection, *source.split("val")])
    with staged_directory(out, overwrite=overwrite) as staging, tempfile.TemporaryDirectory() as work:
        draft = write_content(staging, source, config, names, track)
        for _ in track([0], "fp32 graph", 1):
            source.network.write(Path(work) / "source.onnx", config.opset)
        with closing(_open_workshop(staging, Path(work), source, config, profile, images, track)) as workshop:
            recipe, curve = _recipe(workshop, config)
            draft = structs.replace(
                draft,
                variants=tuple(_made(workshop, name, recipe) for name in track(names, "convert", len(names))),
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


def _made(workshop: Workshop, name: str, recipe: Quantisation) -> VariantRecord:
    """The variant's files, quantised in the way that is best for it."""
    quantisation, ways = workshop.chosen_way(name, recipe)
    return structs.replace(workshop.convert(name, quantisation), ways=ways)


def _open_workshop(
    folder: Path,
    work: Path,
    source: Source,
    config: ExportConfig,
    profile: Profile,
    images: TrainingImages,
    track: Track,
) -> Workshop:
    calibration = known(source, images.calibration, track, "prepare calibration samples").inputs

    def retrain(path: Path) -> None:
        source.network.retrain(calibration, config.seed, track).write(path, config.opset)

    return Workshop(
        folder,
        work,
        source,
        profile,
        calibration=calibration,
        selection=_selection(source, images.selection, track),
        per_tensor=config.per_tensor,
        retrain=retrain if source.network.trainable else None,
        track=track,
    )


def _selection(source: Source, samples: tuple[SampleRecord, ...], track: Track) -> Selection | None:
    """The images to choose by, answered by torch; None when there are none to spare."""
    if not samples:
        return None
    found = known(source, samples, track, "prepare samples to choose by")
    outputs = answers_to(source.network.answer, found.inputs, source.task)
    return Selection(task=source.task, inputs=found.inputs, truths=found.truths, outputs=outputs)


def _recipe(workshop: Workshop, config: ExportConfig) -> tuple[Quantisation, tuple[CalibrationPoint, ...]]:
    """How int8 variants are made at first, and the curve their number of images was read from."""
    available = len(workshop.calibration_inputs)
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
