"""A linear head on frozen features, its regularisation chosen by cross-validation inside the training samples.

Multinomial logistic regression on standardised features; the standardisation is folded into the weights.
"""

from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit
from torch import nn

from edgetl.types import Array, Track

GRID = tuple(float(c) for c in np.logspace(-4, 1, 11))
"""Candidates for C, scikit-learn's inverse regularisation strength."""

FOLDS = 5
MAX_CV_SAMPLES = 10_000
"""The choice of C looks at no more samples than this; the head itself is fitted on all."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One C, with its mean cross-validated log-loss and accuracy."""

    c: float
    log_loss: float
    top1: float


class LinearHead(msgspec.Struct, frozen=True, kw_only=True):
    """logits = features · weightᵀ + bias, with weight (labels, width) and bias (labels,)."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    c: float
    candidates: tuple[Candidate, ...]

    def logits(self, features: Array) -> Array:
        return np.asarray(features @ self.weight.T + self.bias)

    def module(self) -> nn.Linear:
        linear = nn.Linear(self.weight.shape[1], self.weight.shape[0])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(self.weight))
            linear.bias.copy_(torch.from_numpy(self.bias))
        return linear


def fit_head(features: Array, truths: Array, classes: int, *, seed: int, track: Track) -> LinearHead:
    """Fits the head on `features` (samples, width) with label indices `truths`, every class present."""
    mean, std = features.mean(axis=0), features.std(axis=0)
    std = np.where(std > 1e-6 * max(float(std.max()), 1e-30), std, 1.0)
    scaled = ((features - mean) / std).astype(np.float64)
    candidates = _cross_validate(scaled, truths, seed, track)
    best = min(candidates, key=lambda candidate: candidate.log_loss)
    weight, bias = _coefficients(_fit(scaled, truths, best.c), classes)
    weight = weight / std
    bias = bias - weight @ mean
    return LinearHead(
        weight=weight.astype(np.float32), bias=bias.astype(np.float32), c=best.c, candidates=tuple(candidates)
    )


def _cross_validate(scaled: Array, truths: Array, seed: int, track: Track) -> list[Candidate]:
    if len(truths) > MAX_CV_SAMPLES:
        split = StratifiedShuffleSplit(1, train_size=MAX_CV_SAMPLES, random_state=seed)
        kept = next(split.split(scaled, truths))[0]
        scaled, truths = scaled[kept], truths[kept]
    folds = min(FOLDS, int(np.bincount(truths)[np.unique(truths)].min()))
    parts = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(scaled, truths))
    return [_candidate(c, scaled, truths, parts) for c in track(GRID, "choose regularisation", len(GRID))]


def _candidate(c: float, scaled: Array, truths: Array, parts: list[tuple[Array, Array]]) -> Candidate:
    losses, hits = [], []
    for train, held_out in parts:
        model = _fit(scaled[train], truths[train], c)
        probabilities = model.predict_proba(scaled[held_out])
        columns = np.searchsorted(model.classes_, truths[held_out])
        right = probabilities[np.arange(len(held_out)), columns]
        losses.append(-np.log(np.maximum(right, 1e-12)))
        hits.append(probabilities.argmax(1) == columns)
    return Candidate(c=c, log_loss=float(np.concatenate(losses).mean()), top1=float(np.concatenate(hits).mean()))


def _fit(scaled: Array, truths: Array, c: float) -> Any:
    return LogisticRegression(C=c, max_iter=2000).fit(scaled, truths)


def _coefficients(model: Any, classes: int) -> tuple[Array, Array]:
    """One row per label; the two-class model of scikit-learn has one row, which is split evenly."""
    weight, bias = model.coef_, model.intercept_
    if classes == 2 and len(weight) == 1:
        weight, bias = np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    return np.asarray(weight), np.asarray(bias)
