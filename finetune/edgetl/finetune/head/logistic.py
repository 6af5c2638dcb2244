"""A linear head on frozen features, its regularisation chosen by cross-validation inside the training samples.

Multinomial logistic regression on standardised features; the standardisation is folded into the weights.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

from edgetl.finetune.head.folds import Fold, stratified_folds, stratified_rows
from edgetl.finetune.head.streamed import Rows, fit_streamed, scale_of
from edgetl.types import Array, Track

GRID = tuple(float(c) for c in np.logspace(-4, 1, 11))
"""Candidates for C, scikit-learn's inverse regularisation strength."""

FOLDS = 5
MAX_CV_SAMPLES = 10_000
"""The choice of C looks at about so many samples and no more; the head itself is fitted on all."""

STREAMED_ABOVE = 20_000
"""With more samples the head is fitted in minibatches: 20,000 × 1280 in float64 are 0.2 GB, and copies are made."""

RISES = 2
"""The search for C ends when the log-loss has risen so often in a row: towards larger C it goes on rising."""

FINAL_TOLERANCE = 1e-7
"""Of the gradient; scikit-learn's 1e-4 leaves logits uncertain by more than 1e-2 where C is large."""

LEAST_PROBABILITY = 1e-12
"""A held-out class that a fold has not learned has this probability, so that one sample does not decide alone."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One C, with its mean cross-validated log-loss and accuracy."""

    c: float
    log_loss: float
    top1: float


class LinearHead(msgspec.Struct, frozen=True, kw_only=True):
    """logits = features · weight + bias, with weight (labels, width) and bias (labels,).

    `out_of_fold` (rows, labels): for the samples `out_of_fold_rows` (all of them up to `MAX_CV_SAMPLES`) the
    log-probabilities of the fold that did not see them, at the chosen C; as good as logits for a temperature.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    c: float
    candidates: tuple[Candidate, ...]
    out_of_fold: NDArray[np.float32]
    out_of_fold_rows: NDArray[np.int64]

    def logits(self, features: Array) -> Array:
        return np.asarray(features @ self.weight.T + self.bias)

    def module(self) -> nn.Linear:
        linear = nn.Linear(self.weight.shape[1], self.weight.shape[0])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(self.weight))
            linear.bias.copy_(torch.from_numpy(self.bias))
        return linear


def fit_head(
    features: Rows,
    truths: Array,
    classes: int,
    *,
    seed: int,
    track: Track,
    groups: Array | None = None,
    sample_weight: Array | None = None,
) -> LinearHead:
    """Fits the head on `features` (samples, width) with label indices `truths`, every class present.

    Samples of one of `groups` (samples,) are never on both sides of a fold. `sample_weight` (samples,) weighs
    losses; only its ratios count. Above `STREAMED_ABOVE` samples, features are read in pieces.
    Raises DataError when the groups leave nothing to learn from.
    """
    weights = np.ones(len(truths)) if sample_weight is None else sample_weight / np.mean(sample_weight)
    scale = scale_of(features)
    rows = stratified_rows(truths, MAX_CV_SAMPLES, seed=seed)
    few, turn = rotated(scale(features[rows]))
    folds = stratified_folds(truths[rows], FOLDS, seed=seed, groups=None if groups is None else groups[rows])
    candidates, best, out_of_fold = _choose(few, truths[rows], weights[rows], classes, folds, track)
    if len(truths) > STREAMED_ABOVE:
        weight, bias = fit_streamed(features, truths, classes, weights, scale, best.c, seed=seed, track=track)
    else:
        whole, turn = (few, turn) if len(rows) == len(truths) else rotated(scale(features[np.arange(len(truths))]))
        model = LogisticRegression(C=best.c, max_iter=5000, tol=FINAL_TOLERANCE).fit(whole, truths, weights)
        weight, bias = _coefficients(model, classes)
        weight = weight if turn is None else weight @ turn.T
    weight = weight / scale.std
    return LinearHead(
        weight=weight.astype(np.float32),
        bias=(bias - weight @ scale.mean).astype(np.float32),
        c=best.c,
        candidates=tuple(candidates),
        out_of_fold=out_of_fold.astype(np.float32),
        out_of_fold_rows=rows,
    )


def rotated(scaled: Array) -> tuple[Array, Array | None]:
    """With fewer samples than features: the samples in an orthonormal basis (width, samples) of their span.

    An L2 penalty keeps every weight vector in the span of the samples, and a rotation leaves its norm as it is, so
    the fit is the same (the representer theorem; Hastie & Tibshirani, Biostatistics 5, 2004, section 2).
    """
    samples, width = scaled.shape
    if samples >= width:
        return scaled, None
    basis, triangle = np.linalg.qr(scaled.T)
    return np.ascontiguousarray(triangle.T), basis


def _choose(
    scaled: Array, truths: Array, weights: Array, classes: int, folds: Sequence[Fold], track: Track
) -> tuple[list[Candidate], Candidate, Array]:
    """The candidates tried, the one with the least log-loss, and its out-of-fold log-probabilities."""
    # each C starts from the solution of the one before
    models = [LogisticRegression(max_iter=2000, warm_start=True) for _ in folds]
    tried: list[Candidate] = []
    best, kept, rises = None, np.empty((0, classes)), 0
    for c in track(GRID, "choose regularisation", len(GRID)):
        answers = np.empty((len(truths), classes))
        for model, (train, held_out) in zip(models, folds, strict=True):
            model.set_params(C=c).fit(scaled[train], truths[train], weights[train])
            answers[held_out] = _log_probabilities(model, scaled[held_out], classes)
        candidate = _judged(c, answers, truths, weights)
        rises = rises + 1 if tried and candidate.log_loss > tried[-1].log_loss else 0
        tried.append(candidate)
        if best is None or candidate.log_loss < best.log_loss:
            best, kept = candidate, answers
        if rises == RISES:
            break
    assert best is not None
    return tried, best, kept


def _judged(c: float, answers: Array, truths: Array, weights: Array) -> Candidate:
    losses = -answers[np.arange(len(truths)), truths]
    top1 = float((answers.argmax(1) == truths).mean())
    return Candidate(c=c, log_loss=float(np.average(losses, weights=weights)), top1=top1)


def _log_probabilities(model: Any, scaled: Array, classes: int) -> Array:
    least = float(np.log(LEAST_PROBABILITY))
    answers = np.full((len(scaled), classes), least)
    answers[:, model.classes_] = np.maximum(model.predict_log_proba(scaled), least)
    return answers


def _coefficients(model: Any, classes: int) -> tuple[Array, Array]:
    """One row per label; the two-class model of scikit-learn has one row, which is split evenly."""
    weight, bias = model.coef_, model.intercept_
    if classes == 2 and len(weight) == 1:
        weight, bias = np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    return np.asarray(weight), np.asarray(bias)
