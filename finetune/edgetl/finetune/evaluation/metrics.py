"""How good a model is on one split: accuracy, per-class scores, calibration and who is taken for whom."""

import msgspec
import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from edgetl.errors import DataError
from edgetl.finetune.evaluation.calibration import Answers, answers, expected_calibration_error
from edgetl.types import Array

TOP = 5
"""`top5` exists only with more labels than this: with five it would always be 1."""

_ROWS = 4096
"""Rows ranked at once: 4 MB of flags for 1000 labels."""


class ClassScore(msgspec.Struct, frozen=True, kw_only=True):
    """One label's scores, fractions of 1; a score that would divide by zero is 0. `samples`: with this true label."""

    label: str
    samples: int
    precision: float
    recall: float
    f1: float


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What a model scored on one split; fractions of 1, but `log_loss` in nats.

    `metrics`: top1, top5 (with more than five labels), macro_f1, balanced_accuracy, ece, log_loss.
    `confusion`: (true, predicted, count) of every pair of label indices that occurs.
    """

    samples: int
    metrics: dict[str, float]
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, int, int], ...]


def evaluate(logits: Array, truths: Array, labels: tuple[str, ...], temperature: float = 1.0) -> Evaluation:
    """Scores softmax(logits / temperature); logits float32 (samples, labels), truths (samples,) label indices.

    Macro-F1 and balanced accuracy (mean recall) are means over the labels that occur among the truths: a label
    without a sample has no recall, and counting it as 0 would judge the split, not the model. ECE: 15 equal-width
    bins (Guo et al. 2017). Raises DataError when there is no sample or a logit is not a finite number.
    """
    if not len(logits):
        raise DataError("there is no labelled image to evaluate on", hint="give the split at least one image")
    if not np.isfinite(logits).all():
        raise DataError("the model answers NaN or infinity", hint="are its weights damaged?")
    given = answers(logits, truths, temperature)
    classes = _class_scores(truths, given.predicted, labels)
    return Evaluation(
        samples=len(logits),
        metrics=_metrics(logits, truths, given, [score for score in classes if score.samples]),
        classes=classes,
        confusion=_confusion(truths, given.predicted, len(labels)),
    )


def _metrics(logits: Array, truths: Array, given: Answers, occurring: list[ClassScore]) -> dict[str, float]:
    top5 = {"top5": _top_accuracy(logits, truths)} if logits.shape[1] > TOP else {}
    return {
        "top1": float(given.correct.mean()),
        **top5,
        "macro_f1": float(np.mean([score.f1 for score in occurring])),
        "balanced_accuracy": float(np.mean([score.recall for score in occurring])),
        "ece": expected_calibration_error(given.confidence, given.correct),
        "log_loss": float(given.log_loss.mean()),
    }


def _top_accuracy(logits: Array, truths: Array) -> float:
    """Share of samples with fewer than five labels ahead of the true one; of equal logits the first label leads.

    Counting is a hundred times faster here than scikit-learn's `top_k_accuracy_score`, which sorts all labels.
    """
    hits = 0
    columns = np.arange(logits.shape[1])
    for start in range(0, len(logits), _ROWS):
        scores, true = logits[start : start + _ROWS], truths[start : start + _ROWS, None]
        own = np.take_along_axis(scores, true, axis=1)
        ahead = (scores > own) | ((scores == own) & (columns < true))
        hits += int((ahead.sum(axis=1) < TOP).sum())
    return hits / len(logits)


def _class_scores(truths: Array, predicted: Array, labels: tuple[str, ...]) -> tuple[ClassScore, ...]:
    scores = precision_recall_fscore_support(truths, predicted, labels=np.arange(len(labels)), zero_division=0)
    return tuple(
        ClassScore(label=label, precision=float(p), recall=float(r), f1=float(f1), samples=int(samples))
        for label, p, r, f1, samples in zip(labels, *scores, strict=True)
    )


def _confusion(truths: Array, predicted: Array, labels: int) -> tuple[tuple[int, int, int], ...]:
    """Sparse: 1000 labels have a million cells, of which a split fills a few thousand."""
    pairs, counts = np.unique(truths.astype(np.int64) * labels + predicted, return_counts=True)
    true, predicted = np.divmod(pairs, labels)
    return tuple(zip(true.tolist(), predicted.tolist(), counts.tolist(), strict=True))
