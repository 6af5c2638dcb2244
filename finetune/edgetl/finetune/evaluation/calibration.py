"""How far probabilities can be believed: reliability, expected calibration error, and the temperature that mends it."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from edgetl.types import Array

BINS = 15
"""Equal-width bins of confidence, as in Guo et al. 2017."""

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
"""Beyond these the logits are no longer a softmax's: answers would all be certain, or all undecided."""

PRIOR_FACTOR = 2.0
"""One standard deviation of the prior on log T: a factor of two either way, as published networks have it."""

MAX_FIT_SAMPLES = 10_000
"""One number is known to about a percent from so many; more only cost time."""

_ROWS = 4096
"""Rows whose softmax is in memory at once: 16 MB for 1000 labels."""


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What a model answered, each array of shape (samples,).

    `predicted`: label indices. `confidence`: the probability of that label. `correct`: whether it is the true one.
    `log_loss`: minus the log-probability of the true label, in nats.
    """

    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    correct: NDArray[np.bool_]
    log_loss: NDArray[np.float64]


class ReliabilityBin(msgspec.Struct, frozen=True, kw_only=True):
    """The samples whose confidence lies in (low, high], with their mean confidence and their share of right answers."""

    low: float
    high: float
    samples: int
    confidence: float
    accuracy: float


def answers(logits: Array, truths: Array, temperature: float = 1.0) -> Answers:
    """The answers of softmax(logits / temperature); logits (samples, labels), truths (samples,) label indices."""
    confidence, log_loss = np.empty(len(logits)), np.empty(len(logits))
    for start in range(0, len(logits), _ROWS):
        rows = slice(start, start + _ROWS)
        scores = log_softmax(logits[rows] / np.float32(temperature), axis=1)
        confidence[rows] = np.exp(scores.max(axis=1))
        log_loss[rows] = -scores[np.arange(len(scores)), truths[rows]]
    predicted = logits.argmax(axis=1) if len(logits) else np.zeros(0, np.int64)
    return Answers(predicted=predicted, confidence=confidence, correct=predicted == truths, log_loss=log_loss)


def reliability(confidence: Array, correct: Array) -> tuple[ReliabilityBin, ...]:
    """The bins that hold a sample, from low to high confidence."""
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return tuple(
        ReliabilityBin(
            low=i / BINS,
            high=(i + 1) / BINS,
            samples=int((bins == i).sum()),
            confidence=float(confidence[bins == i].mean()),
            accuracy=float(correct[bins == i].mean()),
        )
        for i in np.unique(bins).tolist()
    )


def expected_calibration_error(confidence: Array, correct: Array) -> float:
    """Mean gap between confidence and accuracy over 15 equal-width bins, weighted by samples, as a fraction of 1.

    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017. 0 without samples.
    """
    gaps = [part.samples * abs(part.accuracy - part.confidence) for part in reliability(confidence, correct)]
    return sum(gaps) / max(1, len(confidence))


def fit_temperature(logits: Array, truths: Array, groups: Array | None = None) -> float:
    """The T that makes softmax(logits / T) most probable, from held-out logits (samples, labels).

    Samples of one of the `groups` (samples,), such as frames of one video, are not independent: together they
    count as one. The likelihood has a weak prior, log T ~ Normal(0, log 2): where every answer is right the
    likelihood alone would go to the smallest T, and a classifier that made no mistake on twenty images would claim
    to make none ever; with the prior it stops about where it expects one mistake in as many images as it saw, and
    hundreds of samples outweigh it. Without samples T is 1.
    """
    if len(logits) > MAX_FIT_SAMPLES:
        kept = np.random.default_rng(0).choice(len(logits), MAX_FIT_SAMPLES, replace=False)
        logits, truths, groups = logits[kept], truths[kept], None if groups is None else groups[kept]
    weights = _weights(len(logits), groups)
    spread = math.log(PRIOR_FACTOR)

    def minus_log_posterior(log_temperature: float) -> float:
        losses = answers(logits, truths, math.exp(log_temperature)).log_loss
        return float(weights @ losses) + 0.5 * (log_temperature / spread) ** 2

    bounds = (math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE))
    found = minimize_scalar(minus_log_posterior, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(math.exp(found.x))


def _weights(samples: int, groups: Array | None) -> NDArray[np.float64]:
    if groups is None:
        return np.ones(samples)
    _, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / sizes[index])
