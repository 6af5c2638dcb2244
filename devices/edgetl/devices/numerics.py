"""How far two sets of logits are apart, in the measures the tolerances are written in."""

import msgspec
import numpy as np

from edgetl.types import Array

MAX_DB = 200.0
"""Identical logits have no noise; their signal-to-noise ratio is reported as this."""

BEYOND = 1e150
"""What an error or divergence without a finite value counts as: JSON has no infinity, and its square is finite."""


class Distance(msgspec.Struct, frozen=True, kw_only=True):
    """`agreement`: fraction of samples with the same best label. `kl`: mean Kullback–Leibler divergence of the
    probabilities, in nats. `column_sqnr_db`: the worst column's error against the columns' mean power, and
    `worst_label` that column.
    """

    samples: int
    sqnr_db: float
    max_abs_dlogit: float
    agreement: float
    kl: float
    column_sqnr_db: float
    worst_label: int


def compare(logits: Array, reference: Array, temperature: float = 1.0) -> Distance:
    """Distance of `logits` from `reference`, both of shape (samples, labels)."""
    reference = reference.astype(np.float64)
    error = np.nan_to_num(np.abs(logits.astype(np.float64) - reference), nan=BEYOND, posinf=BEYOND)
    columns = np.sum(error**2, axis=0)
    worst = int(columns.argmax())
    return Distance(
        samples=len(reference),
        sqnr_db=sqnr_db(logits, reference),
        max_abs_dlogit=float(error.max()),
        agreement=float(np.mean(logits.argmax(1) == reference.argmax(1))),
        kl=_divergence(reference / temperature, logits.astype(np.float64) / temperature),
        column_sqnr_db=_decibels(float(np.mean(np.sum(reference**2, axis=0))), float(columns[worst])),
        worst_label=worst,
    )


def sqnr_db(logits: Array, reference: Array) -> float:
    """Signal-to-quantisation-noise ratio, 10·log10(Σ reference² / Σ error²), in decibels."""
    reference = reference.astype(np.float64)
    noise = float(np.sum((logits - reference) ** 2))
    if not np.isfinite(noise):
        return -MAX_DB
    return _decibels(float(np.sum(reference**2)), noise)


def log_softmax(logits: Array) -> Array:
    """log of the softmax over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _divergence(reference: Array, logits: Array) -> float:
    if not np.isfinite(logits).all():
        return BEYOND
    expected = log_softmax(reference)
    return float(np.mean(np.sum(np.exp(expected) * (expected - log_softmax(logits)), axis=1)))


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return MAX_DB
    return float(np.clip(10 * np.log10(max(signal, 1e-30) / noise), -MAX_DB, MAX_DB))
