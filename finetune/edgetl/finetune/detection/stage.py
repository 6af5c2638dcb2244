"""The stage: (config) → run. Reads photos with boxes and weights, lets the detector learn, writes the run."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch

from edgetl.errors import ConfigError, DataError
from edgetl.finetune.cache.pictures import decode_once
from edgetl.finetune.cache.room import Cache, open_cache
from edgetl.finetune.config import FinetuneConfig, FinetuneResult
from edgetl.finetune.detection.config import STRATEGIES
from edgetl.finetune.detection.data import BoxedDataset
from edgetl.finetune.detection.job import DetectionJob
from edgetl.finetune.detection.judging import Entrance
from edgetl.finetune.detection.matching import best_threshold
from edgetl.finetune.detection.metrics import evaluate_boxes
from edgetl.finetune.detection.record import DetectionOutcome, write_run
from edgetl.finetune.detection.start import Start, start_of
from edgetl.finetune.detection.training import train
from edgetl.finetune.detection.views import Views, canvas_of
from edgetl.finetune.detection.workshop import WithLoss, Workshop, pools
from edgetl.finetune.interrupted import kept_to_resume, out_of_memory, unfinished
from edgetl.finetune.material import skip_or_raise
from edgetl.finetune.training.checkpoint import Checkpoint, Epoch
from edgetl.finetune.training.config import LoopConfig, Value
from edgetl.finetune.training.precision import PrecisionChoice, choose_precision, random_pixels
from edgetl.finetune.training.team import launched
from edgetl.finetune.training.tensorboard import tensorboard
from edgetl.run import Split
from edgetl.staging import check_target, staged_directory
from edgetl.types import Track, silent

LEAST_JUDGED = 0.05
"""Epochs are compared by boxes from this score on: the rest costs time and moves no choice."""


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What training leaves: its epochs, and what the photos set aside chose."""

    epochs: list[Epoch]
    precision: PrecisionChoice
    held: int = 0
    selection: float | None = None
    score_threshold: float | None = None


def finetune(
    config: FinetuneConfig,
    out: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    track: Track = silent,
    observe: Callable[[Epoch], None] = lambda epoch: None,
) -> FinetuneResult:
    """Writes the run `out`, whole or not at all. With `resume` goes on with a training that was interrupted.

    `observe` is told every finished epoch; what it raises ends the training, which can be resumed.
    Raises ConfigError, DataError, ArtefactError, DependencyError.
    """
    began = time.perf_counter()
    if launched():
        raise ConfigError("detectors are trained by one process", hint="start `edgetl finetune` without torchrun")
    inputs = tuple(path for path in (Path(config.data), Path(config.weights)) if path.is_dir())
    check_target(out, overwrite=overwrite, inputs=inputs)
    state = unfinished(out, overwrite=overwrite, resume=resume)
    with kept_to_resume(state):
        start = start_of(config, track)
        events = state / "tensorboard"
        watching = tensorboard(events, observe) if config.tensorboard else observe
        try:
            outcome = _outcome(start, state / "main", resume, track, watching, began)
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            raise out_of_memory(error, LoopConfig(batch_size=max(2, start.loop.batch_size)), "photos") from error
        with staged_directory(out, overwrite=overwrite) as staging:
            write_run(staging, out.name, msgspec.to_builtins(config), outcome)
            if events.is_dir():
                shutil.move(events, staging / "tensorboard")
        shutil.rmtree(state, ignore_errors=True)
    return _result(out, outcome)


def _outcome(
    start: Start, folder: Path, resume: bool, track: Track, observe: Callable[[Epoch], None], began: float
) -> DetectionOutcome:
    cache = open_cache(start.config.cache_gb)
    data = _decodable(start, cache, track)
    shop = Workshop(start, data, cache, track)
    learned = Learned(epochs=[], precision=PrecisionChoice(bf16=False))
    if STRATEGIES[start.strategy].trains:
        learned = _train(shop, folder, resume, observe)
    start.detector.cpu()
    shop.device = torch.device("cpu")
    headline = data.dataset.split(data.dataset.headline)
    found = shop.found(headline)
    task = start.task
    if learned.score_threshold is not None:
        task = msgspec.structs.replace(task, score_threshold=learned.score_threshold)
    return DetectionOutcome(
        detector=start.detector, architecture=start.architecture, backbone=start.backbone, task=task, data=data,
        loop=start.loop, strategy=start.strategy, reason=start.reason, epochs=learned.epochs,
        evaluation=evaluate_boxes(data.boxes(headline), found, task.labels), found=found, held=learned.held,
        selection=learned.selection, bf16=learned.precision.bf16,
        compute=learned.precision.facts() if learned.epochs else {}, weights=start.weights, leakage=start.leakage,
        seconds=time.perf_counter() - began, notes=(*data.notes, *start.notes),
    )  # fmt: skip


def _decodable(start: Start, cache: Cache, track: Track) -> BoxedDataset:
    """The data without photos that cannot be decoded, where these may be left out; export will need every split."""
    data, spec = start.data, start.task.input
    splits: tuple[Split, ...] = ("train", "val", "test")
    for split in splits:
        if len(samples := data.dataset.split(split)):
            bad = decode_once(samples, data.dataset.root, spec, cache, track)[1]
            data = data.without(skip_or_raise(bad, start.config.skip_bad_images))
            if not len(data.dataset.split(split)):
                raise DataError(f"no {split} photo of `{start.config.data}` can be decoded", hint="check the files")
    return data


def _train(shop: Workshop, folder: Path, resume: bool, observe: Callable[[Epoch], None]) -> Learned:
    start, data = shop.start, shop.data
    fit, held = pools(data, start.loop.hold_out, start.config.seed)
    checkpoint = Checkpoint(folder, _identity(start, data), resume=resume)
    choice = choose_precision(
        WithLoss(start.detector, data, fit, start.task.input), lambda: random_pixels(start.task.input),
        LoopConfig(precision=start.loop.precision), shop.device, checkpoint.decisions,
    )  # fmt: skip
    checkpoint.decisions = choice.facts()

    def judge() -> float:
        assert held is not None
        found = shop.found(held, bf16=choice.bf16, least=LEAST_JUDGED)
        return evaluate_boxes(data.boxes(held), found, start.task.labels).metrics["map50"]

    views = Views(
        pictures=shop.pictures(fit, canvas_of(start.task.input)), sizes=data.sizes(fit), boxes=data.boxes(fit),
        input=start.task.input, augment=start.loop.augment, seed=start.config.seed,
    )  # fmt: skip
    job = DetectionJob(
        detector=start.detector, views=views, enter=Entrance(start.task, shop.device), config=start.loop,
        seed=start.config.seed, bf16=choice.bf16, judge=judge if held is not None else None, observe=observe,
    )  # fmt: skip
    epochs = train(job, checkpoint, shop.track)
    checkpoint.close()
    if held is None:
        return Learned(epochs=epochs, precision=choice)
    found = shop.found(held)
    return Learned(
        epochs=epochs,
        precision=choice,
        held=len(held),
        selection=max((each.val_metric for each in epochs if each.val_metric is not None), default=None),
        score_threshold=best_threshold(data.boxes(held), found, len(start.task.labels)),
    )


def _identity(start: Start, data: BoxedDataset) -> dict[str, Value]:
    """What a resumed training must share with the one it goes on with."""
    config = start.config
    return {
        "detector": start.architecture, "backbone": start.backbone or "", "weights": start.weights.sha256,
        "strategy": start.strategy, "data": data.dataset.record().fingerprint, "boxes": data.fingerprint(),
        "seed": config.seed, "width": start.task.input.width, "height": start.task.input.height,
        "torch": str(torch.__version__), "threads": torch.get_num_threads(), **msgspec.to_builtins(start.loop),
    }  # fmt: skip


def _result(out: Path, outcome: DetectionOutcome) -> FinetuneResult:
    return FinetuneResult(
        run=str(out),
        strategy=outcome.strategy,
        epochs=len(outcome.epochs),
        seconds=round(outcome.seconds, 3),
        metrics=outcome.evaluation.metrics,
        metric="map50",
        selection=outcome.selection,
        headline=outcome.data.dataset.headline,
        samples=outcome.evaluation.photos,
        reason=outcome.reason,
        leakage=tuple(outcome.leakage.lines()),
        skipped=outcome.data.dataset.skipped,
        notes=outcome.notes,
    )
