"""How far two sets of logits are apart, in the measures the tolerances are written in."""

import msgspec
import numpy as np

from edgetl.types import Array

MAX_DB = 200.0
"""Identical logits have no noise; their signal-to-noise ratio is reported as this."""


class Distance(msgspec.Struct, frozen=True, kw_only=True):
    """`agreement` is the fraction of samples with the same best label; `worst_label` has the largest difference."""

    samples: int
    sqnr_db: float
    max_abs_dlogit: float
    agreement: float
    worst_label: int


def compare(logits: Array, reference: Array) -> Distance:
    """Distance of `logits` from `reference`, both of shape (samples, labels)."""
    error = np.abs(logits.astype(np.float64) - reference)
    worst = error.max(axis=0)
    return Distance(
        samples=len(reference),
        sqnr_db=sqnr_db(logits, reference),
        max_abs_dlogit=float(worst.max()) if np.isfinite(error).all() else float("inf"),
        agreement=float(np.mean(logits.argmax(1) == reference.argmax(1))),
        worst_label=int(np.nan_to_num(worst, nan=np.inf).argmax()),
    )


def sqnr_db(logits: Array, reference: Array) -> float:
    """Signal-to-quantisation-noise ratio, 10·log10(Σ reference² / Σ error²), in decibels."""
    reference = reference.astype(np.float64)
    noise = float(np.sum((logits - reference) ** 2))
    if not np.isfinite(noise):
        return -MAX_DB
    if noise == 0:
        return MAX_DB
    return float(np.clip(10 * np.log10(max(float(np.sum(reference**2)), 1e-30) / noise), -MAX_DB, MAX_DB))
