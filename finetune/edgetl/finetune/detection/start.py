"""What a detection run starts from: data, weights, task and detector, read and checked before anything is learned."""

from pathlib import Path

import msgspec

from edgetl.errors import ConfigError, DataError
from edgetl.files import read_json
from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.data.leakage import Leakage, find_leaks
from edgetl.finetune.detection.config import DetectionLoop, check_options, detection_loop, strategy_of
from edgetl.finetune.detection.data import BoxedDataset, input_of, read_boxed_dataset
from edgetl.finetune.detection.models.architectures import TaskFields, build_detector, task_fields
from edgetl.finetune.detection.models.detector import Detector
from edgetl.finetune.detection.models.graph import RECORD, DetectorRecord, open_detector
from edgetl.finetune.detection.models.options import DetectorOptions
from edgetl.finetune.detection.models.source import DetectorSource, detector_source
from edgetl.run import WeightsRecord, open_run
from edgetl.tasks.images import ImageInput
from edgetl.tasks.object_detection import ObjectDetection
from edgetl.types import Track

SIDE = 320
"""Pixels of the input's longer side, unless the user says: what SSDLite was made for."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What is read before anything is learned. `backbone`: None for a detector that brings its own."""

    config: FinetuneConfig
    strategy: str
    reason: str
    loop: DetectionLoop
    architecture: str
    backbone: str | None
    detector: Detector
    task: ObjectDetection
    data: BoxedDataset
    leakage: Leakage
    weights: WeightsRecord
    notes: tuple[str, ...] = ()


def start_of(config: FinetuneConfig, track: Track) -> Start:
    """Raises ConfigError, DataError, ArtefactError, DependencyError."""
    check_options(config)
    strategy = strategy_of(config)
    loop = detection_loop(config, strategy)
    if strategy == "none" or _is_run(config.weights):
        return _from_run(config, strategy, loop, track)
    fields = task_fields(config.detector)
    if not Path(config.data).is_dir():
        raise DataError(f"the data folder `{config.data}` does not exist", hint="check the path")
    weights = "none" if strategy == "from-scratch" else config.weights
    source = detector_source(config.detector, config.backbone, weights, DetectorOptions())
    data = _data(config, None, track)
    task = _task(config, source, data, fields)
    size = (task.input.height, task.input.width)
    detector = build_detector(
        config.detector, source.backbone, source.weights.state, len(task.labels), size, seed=config.seed,
        options=source.options,
    )  # fmt: skip
    return Start(
        config=config, strategy=strategy, reason=_reason(config), loop=loop, architecture=config.detector,
        backbone=source.backbone.name if source.backbone else None, detector=detector, task=task, data=data,
        leakage=find_leaks(data.dataset, track), weights=source.weights.record,
    )  # fmt: skip


def _from_run(config: FinetuneConfig, strategy: str, loop: DetectionLoop, track: Track) -> Start:
    """A detector that was trained before, on the same labels: judged as it is, or trained further."""
    if not _is_run(config.weights):
        raise ConfigError("`--strategy none` needs a detector", hint="`--weights RUN`, a detection run")
    path = Path(config.weights)
    run, task, _ = open_run(path)
    if not isinstance(task, ObjectDetection):
        raise ConfigError(f"`{path}` is no detection run", hint="name one, or the weights of a backbone")
    if config.size is not None:
        hint = "leave out `--size`, or start from a backbone's weights"
        raise ConfigError(f"the detector of `{path}` keeps its own input", hint=hint)
    record = read_json(path / RECORD, DetectorRecord)
    data = _data(config, task.labels, track)
    return Start(
        config=config, strategy=strategy, reason=_reason(config), loop=loop, architecture=record.architecture,
        backbone=record.backbone, detector=open_detector(path, run, task), task=task, data=data,
        leakage=find_leaks(data.dataset, track),
        weights=WeightsRecord(
            origin=f"run {run.name}", sha256=run.files["weights.safetensors"], licence=run.weights.licence
        ),
    )  # fmt: skip


def _is_run(weights: str) -> bool:
    return (Path(weights) / "run.json").is_file() and (Path(weights) / RECORD).is_file()


def _reason(config: FinetuneConfig) -> str:
    if config.strategy != "auto":
        return ""
    return "there are no weights" if config.weights == "none" else "the backbone has weights, and gains from learning"


def _data(config: FinetuneConfig, labels: tuple[str, ...] | None, track: Track) -> BoxedDataset:
    return read_boxed_dataset(
        Path(config.data), seed=config.seed, format=config.format, skip_bad_boxes=config.skip_bad_boxes, labels=labels,
        track=track,
    )  # fmt: skip


def _task(config: FinetuneConfig, source: DetectorSource, data: BoxedDataset, fields: TaskFields) -> ObjectDetection:
    """Normalisation as the weights expect it; the input's shape as the photos have it, or as a whole model has it."""
    own = source.weights.task
    known = own if own is not None and hasattr(own, "mean") else source.recipe
    sizes = data.sizes(data.dataset.split("train"))
    spec = input_of(sizes, config.size or SIDE)
    if source.backbone is None:
        side = config.size or source.recipe.input.height
        spec = ImageInput(height=side, width=config.size or source.recipe.input.width, resize=side, mode="squash")
    return ObjectDetection(
        labels=data.dataset.labels, input=spec, mean=known.mean, std=known.std, iou_threshold=fields.iou_threshold,
        ordered=fields.ordered,
    )  # fmt: skip
