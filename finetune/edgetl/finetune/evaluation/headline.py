"""The model's own answers: on the headline split, and on the samples that fit its temperature."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from edgetl.errors import DataError
from edgetl.finetune.cache.frozen import BATCH
from edgetl.finetune.cache.pictures import Pictures, blocks, undecodable
from edgetl.finetune.data.imbalance import imbalance
from edgetl.finetune.evaluation.calibration import answers, fit_temperature
from edgetl.finetune.graph import torch_predictor
from edgetl.finetune.material import Judged, Material, skip_or_raise
from edgetl.finetune.training.config import LoopConfig
from edgetl.run import Split
from edgetl.types import Array, silent


def judge(material: Material, split: Split) -> tuple[Judged, tuple[str, ...]]:
    """The answers of torch FP32 on a split, and the images left out; empty in all processes of a team but the first."""
    samples = material.dataset.split(split)
    pictures = Pictures(samples=samples, root=material.dataset.root, spec=material.task.input)
    positions, logits = answer(material, pictures)
    if not len(positions):
        raise DataError(f"no {split} image of `{material.dataset.root}` can be decoded", hint="check the files")
    missing = np.setdiff1d(np.arange(len(samples)), positions)
    skipped = skip_or_raise(undecodable(pictures, missing, silent), material.skip_bad_images)
    judged = samples.take(positions)
    return Judged(samples=judged, logits=logits, truths=np.asarray(judged.labels, np.int64)), skipped


def answer(material: Material, pictures: Pictures) -> tuple[NDArray[np.int64], Array]:
    """The positions that can be decoded and torch's FP32 logits for them, (positions, labels)."""
    order = np.arange(len(pictures.samples))
    predict = torch_predictor(material.model.eval(), material.task)
    watched = material.track(zip(order, pictures.stream(order), strict=True), "evaluate", len(order))
    found = [(positions, predict(batch)) for positions, batch in blocks(watched, BATCH)]
    if not found:
        return np.empty(0, np.int64), np.empty((0, len(material.task.labels)), np.float32)
    return np.concatenate([each for each, _ in found]), np.concatenate([each for _, each in found])


def metric_of(config: LoopConfig, truths: NDArray[np.int64]) -> str:
    """What epochs are chosen by and the headline is: macro-F1 where the classes are of very unequal size."""
    if config.metric != "auto":
        return config.metric
    return "macro_f1" if imbalance(truths).imbalanced else "top1"


def score_by(metric: str) -> Callable[[Array, NDArray[np.int64]], tuple[float, float]]:
    def score(logits: Array, truths: NDArray[np.int64]) -> tuple[float, float]:
        given = answers(logits, truths)
        value = given.correct.mean()
        if metric == "macro_f1":
            value = f1_score(truths, given.predicted, average="macro", labels=np.unique(truths), zero_division=0)
        return float(value), float(given.log_loss.mean())

    return score


def temperature_of(material: Material, held: Pictures | None) -> float:
    """Fitted to the samples set aside; 1 where there are none."""
    if held is None:
        return 1.0
    positions, logits = answer(material, held)
    return fit_temperature(logits, np.asarray(held.samples.labels, np.int64)[positions])
