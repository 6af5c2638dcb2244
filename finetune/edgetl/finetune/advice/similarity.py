"""How much a frozen backbone already knows of a data set: four measures of its features and of its own head."""

import msgspec
import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from edgetl.finetune.head.folds import stratified_rows
from edgetl.finetune.head.logistic import Candidate, fit_head
from edgetl.types import Array, Track, silent

MAX_NEIGHBOUR_SAMPLES = 5000
"""All pairs of so many 1280-wide features take about a second; their distances are computed in blocks."""

LOGME_STEPS = 100
"""The fixed point is usually reached in fewer than ten."""

LOGME_TOLERANCE = 1e-4
"""Relative change of alpha / beta at which the fixed point counts as reached."""


class Similarity(msgspec.Struct, frozen=True, kw_only=True):
    """What the measures say; accuracies are fractions of 1, `chance` is that of always naming the largest class.

    `probe_log_loss`, in nats, is that of the linear probe; `leep` is None where the weights have no head.
    """

    probe_top1: float
    probe_log_loss: float
    neighbour_top1: float
    logme: float
    leep: float | None
    chance: float
    samples: int
    classes: int

    @property
    def corrected_top1(self) -> float:
        """The probe's accuracy with chance as 0 and perfection as 1."""
        return (self.probe_top1 - self.chance) / (1 - self.chance)

    @property
    def standard_error(self) -> float:
        """Of the probe's accuracy, as a binomial share; Agresti & Coull keep it above zero at 100 %."""
        share = (self.probe_top1 * self.samples + 2) / (self.samples + 4)
        return float(np.sqrt(share * (1 - share) / (self.samples + 4)))


def measure(
    features: Array,
    truths: Array,
    source_logits: Array | None,
    classes: int,
    *,
    seed: int,
    track: Track = silent,
    probe: Candidate | None = None,
) -> Similarity:
    """All measures of `features` (samples, width); `source_logits` (samples, source classes) of the weights' head.

    `probe`: the cross-validated candidate of a head that was fitted already.
    """
    probe = probe or probe_accuracy(features, truths, classes, seed=seed, track=track)
    source = None if source_logits is None else torch.softmax(torch.from_numpy(source_logits).double(), dim=1).numpy()
    return Similarity(
        probe_top1=probe.top1,
        probe_log_loss=probe.log_loss,
        neighbour_top1=neighbour_accuracy(features, truths, seed=seed),
        logme=logme(features, truths),
        leep=None if source is None else leep(source, truths),
        chance=float(np.bincount(truths).max() / len(truths)),
        samples=len(truths),
        classes=classes,
    )


def probe_accuracy(features: Array, truths: Array, classes: int, *, seed: int, track: Track = silent) -> Candidate:
    """Cross-validated accuracy and log-loss of a linear head at the C with the least log-loss."""
    candidates = fit_head(features, truths, classes, seed=seed, track=track).candidates
    return min(candidates, key=lambda candidate: candidate.log_loss)


def neighbour_accuracy(features: Array, truths: Array, k: int = 5, *, seed: int) -> float:
    """Leave-one-out accuracy of the vote of the k nearest by cosine, among `MAX_NEIGHBOUR_SAMPLES` at most.

    A tie goes to the class whose neighbour is nearest.
    """
    kept = stratified_rows(truths, MAX_NEIGHBOUR_SAMPLES, seed=seed)
    rows, labels = np.asarray(features[kept], np.float64), truths[kept]
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    near = NearestNeighbors(n_neighbors=min(k, len(kept) - 1)).fit(rows).kneighbors(return_distance=False)
    votes = np.zeros((len(kept), int(labels.max()) + 1))
    for rank in range(near.shape[1]):  # the small bonus of the nearer ones decides ties only
        votes[np.arange(len(kept)), labels[near[:, rank]]] += 1 + 1e-3 / (rank + 1)
    return float((votes.argmax(axis=1) == labels).mean())


def leep(source_probabilities: Array, truths: Array) -> float:
    """LEEP: mean log-likelihood of `truths` when classes are read off the source head; at most 0, higher is better.

    `source_probabilities`: (samples, source classes), rows sum to one.
    Nguyen et al., "LEEP: A New Measure to Evaluate Transferability of Learned Representations", ICML 2020, eq. 2.
    """
    onehot = np.eye(int(truths.max()) + 1)[truths]
    joint = onehot.T @ source_probabilities / len(truths)
    conditional = joint / np.maximum(joint.sum(axis=0), 1e-300)
    right = (source_probabilities * conditional[truths]).sum(axis=1)
    return float(np.log(np.maximum(right, 1e-300)).mean())


def logme(features: Array, truths: Array) -> float:
    """LogME: log evidence per sample of a Bayesian linear model of the one-hot labels, mean over classes.

    Higher is better; comparable between backbones on the same samples only.
    You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML 2021; the fixed point
    on the singular values of You et al., "Ranking and Tuning Pre-trained Models", JMLR 23, 2022, algorithm 3.
    """
    rows = np.asarray(features, np.float64)
    left, singular, _ = np.linalg.svd(rows, full_matrices=False)
    targets = np.eye(int(truths.max()) + 1)[truths]
    present = targets[:, targets.any(axis=0)]
    return float(np.mean([_evidence(left, singular**2, rows.shape, target) for target in present.T]))


def _evidence(left: Array, spectrum: Array, shape: tuple[int, ...], target: Array) -> float:
    """The evidence of one target (samples,) at its best alpha (prior precision) and beta (noise precision)."""
    samples, width = shape
    projected = (left.T @ target) ** 2
    outside = max(float(target @ target - projected.sum()), 0.0)
    alpha, beta, ratio = 1.0, 1.0, 1.0
    for _ in range(LOGME_STEPS):
        shrunk = ratio + spectrum
        gamma = float((spectrum / shrunk).sum())
        norm = float((spectrum * projected / shrunk**2).sum())  # |mean of the weights|²
        residual = float((projected * (ratio / shrunk) ** 2).sum()) + outside
        alpha = gamma / (norm + 1e-12)
        beta = (samples - gamma) / (residual + 1e-12)
        before, ratio = ratio, alpha / beta
        if abs(ratio - before) <= LOGME_TOLERANCE * before:
            break
    return log_evidence(alpha, beta, spectrum, projected, outside, samples, width) / samples


def log_evidence(
    alpha: float, beta: float, spectrum: Array, projected: Array, outside: float, samples: int, width: int
) -> float:
    """log p(target | alpha, beta), from squared singular values and squared projections of the target (Bishop 3.86).

    `outside` is the part of |target|² that no feature explains.
    """
    shrunk = alpha + beta * spectrum
    norm = float((beta**2 * spectrum * projected / shrunk**2).sum())
    residual = float((projected * (alpha / shrunk) ** 2).sum()) + outside
    free = width - len(spectrum)  # directions without any sample keep the prior
    determinant = float(np.log(shrunk).sum()) + free * np.log(alpha)
    constant = width * np.log(alpha) + samples * np.log(beta) - samples * np.log(2 * np.pi)
    return float(constant - determinant - beta * residual - alpha * norm) / 2
