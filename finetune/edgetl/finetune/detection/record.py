"""A detection run written down: weights, task, samples, boxes, scores, configuration, report, and last run.json."""

import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from edgetl.files import sha256_of, write_bytes, write_json
from edgetl.finetune.backbones.weights import save_weights
from edgetl.finetune.data.leakage import Leakage
from edgetl.finetune.detection.config import STRATEGIES, DetectionLoop
from edgetl.finetune.detection.data import BoxedDataset
from edgetl.finetune.detection.metrics import DetectionEvaluation
from edgetl.finetune.detection.models.detector import Detector
from edgetl.finetune.detection.models.graph import RECORD, write_record
from edgetl.finetune.detection.report import Story, write_report
from edgetl.finetune.record import LIBRARIES
from edgetl.finetune.training.checkpoint import Epoch
from edgetl.finetune.training.config import Value
from edgetl.run import FILES, SCHEMA, Run, WeightsRecord, write_samples
from edgetl.tasks.detections import Found
from edgetl.tasks.object_detection import ObjectDetection


class DetectionOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a finished run has to tell. `found`: the answers for the headline split, in pixels of the photos.

    `held`: how many photos chose the epoch. `selection`: the metric on them. `findings`: what the data are like.
    """

    detector: Detector
    architecture: str
    backbone: str | None
    task: ObjectDetection
    data: BoxedDataset
    loop: DetectionLoop
    strategy: str
    reason: str
    epochs: Sequence[Epoch]
    evaluation: DetectionEvaluation
    found: Sequence[Found]
    held: int
    selection: float | None
    bf16: bool
    compute: dict[str, Value]
    weights: WeightsRecord
    leakage: Leakage
    seconds: float
    notes: tuple[str, ...]


def write_run(folder: Path, name: str, config: Mapping[str, Any], outcome: DetectionOutcome) -> None:
    """Fills `folder`; run.json is last, so that a folder with one is whole."""
    dataset = outcome.data.dataset
    save_weights(folder / "weights.safetensors", outcome.detector, outcome.task, outcome.weights.licence)
    write_record(folder, outcome.architecture, outcome.backbone, outcome.detector)
    write_json(folder / "task.json", outcome.task)
    write_samples(folder / "samples.json", dataset.samples)
    write_json(folder / "boxes.json", outcome.data.boxes(dataset.samples))
    write_json(folder / "evaluation.json", outcome.evaluation)
    write_bytes(folder / "config.toml", tomli_w.dumps(_resolved(config, outcome)).encode())
    write_bytes(folder / "metrics.jsonl", b"".join(msgspec.json.encode(line) + b"\n" for line in outcome.epochs))
    run = Run(
        schema=SCHEMA,
        name=name,
        strategy=outcome.strategy,
        backbone=":".join(filter(None, (outcome.architecture, outcome.backbone))),
        seed=config["seed"],
        weights=outcome.weights,
        files={each: sha256_of(folder / each) for each in (*FILES, *outcome.task.records, RECORD)},
        data=dataset.record(),
        metrics=outcome.evaluation.metrics,
        metric="map50",
        headline=dataset.headline,
        reason=outcome.reason,
        findings=(*outcome.data.notes, *outcome.leakage.lines()),
        compute=outcome.compute,
        versions={library: version(library) for library in (*LIBRARIES, "pycocotools")},
    )
    command = f"edgetl finetune --config {shlex.quote(name)}/config.toml -o AGAIN"
    write_report(folder / "report.html", run, outcome.task, command, _story(outcome))
    write_json(folder / "run.json", run)


def _resolved(config: Mapping[str, Any], outcome: DetectionOutcome) -> dict[str, Any]:
    """What does the same again without deciding or probing anything."""
    loop = msgspec.to_builtins(outcome.loop) if STRATEGIES[outcome.strategy].trains else {}
    if outcome.epochs:
        loop["precision"] = "bf16" if outcome.bf16 else "fp32"
    settings = {**config, "strategy": outcome.strategy, "loop": loop}
    return {key: value for key, value in settings.items() if value is not None}


def _story(outcome: DetectionOutcome) -> Story:
    strategy = [f"{outcome.strategy}: {STRATEGIES[outcome.strategy].summary}."]
    strategy += [f"Chosen because: {outcome.reason}."] if outcome.reason else ["Chosen by the user."]
    if outcome.held:
        best = max(outcome.epochs, key=lambda each: each.val_metric or 0.0)
        strategy.append(f"The weights are of epoch {best.epoch}, chosen by mAP50 on {outcome.held} photos set aside.")
        strategy.append(f"Boxes count as found from a score of {outcome.task.score_threshold:g} on: the best F1 there.")
    elif outcome.epochs:
        strategy.append("The weights are of the last epoch: there were too few photos to set some aside for a choice.")
    return Story(
        strategy=strategy,
        epochs=outcome.epochs,
        evaluation=outcome.evaluation,
        data=outcome.data,
        found=outcome.found,
    )
