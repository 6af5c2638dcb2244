"""Names the cause when a model answers as if its input or output had been mistreated.

At export torch answers a part of the golden set under each mistreatment ("what would the right model say if red
and blue were swapped?"); these answers travel in the bundle. A variant that fits one of them significantly
better than the right answers has that fault. Nothing is run again on the device, and faults that lose
information (0–255 for 0–1) are found like the others.
"""

import math
from collections.abc import Mapping

import msgspec
import numpy as np

from edgetl.tasks import ImageClassification, ObjectDetection
from edgetl.tasks.normalisation import Normalisation, normalisation
from edgetl.types import Array

PREFIX = "logits under "
"""Arrays of golden/samples.npz: torch's answers to the first samples under the hypothesis that follows."""

MIN_GAIN_DB = 6.0
MAX_P = 1e-3
"""A hypothesis is named when it cuts the error power to a quarter and a one-sided sign test over samples agrees."""


def graph_hypotheses(task: ImageClassification | ObjectDetection) -> dict[str, Normalisation]:
    """Name → what a graph with that fault would do to its input. Those equal to the right one are left out."""
    right = normalisation(task.mean, task.std)
    candidates = {
        "red and blue swapped": msgspec.structs.replace(right, swap=True),
        "mean and std of 0.5": normalisation((0.5,) * 3, (0.5,) * 3),
        "mean and std of ImageNet": normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "0–1 pixels without mean and std": normalisation((0.0,) * 3, (1.0,) * 3),
        "0–255 pixels fed as 0–1": normalisation(task.mean, task.std, top=1.0),
        "pixels divided by 255 twice": normalisation(task.mean, task.std, top=255.0**2),
    }
    return {name: value for name, value in candidates.items() if value != right}


def graph_cause(logits: Array, reference: Array, answers: Mapping[str, Array], labels: tuple[str, ...]) -> str | None:
    """The fault that explains `logits` significantly better than no fault, or None.

    `logits` and `reference` have shape (samples, labels); `answers` holds torch's logits under each hypothesis
    for the first samples. Answers that are not all finite have no such explanation.
    """
    if not np.isfinite(logits).all():
        return None
    best: tuple[float, str] | None = None
    for name, expected in answers.items():
        count = len(expected)
        gain = _gain_db(logits[:count], reference[:count], expected)
        if gain is not None and (best is None or gain > best[0]):
            best = gain, name
    return best[1] if best else _exchanged_outputs(logits, reference, labels)


def _gain_db(logits: Array, reference: Array, expected: Array) -> float | None:
    """By how many decibels `expected` explains `logits` better than `reference`; None unless significant.

    It must also explain most of `logits`: answers near zero are close to anything small.
    """
    error = np.sum((logits.astype(np.float64) - reference) ** 2, axis=1)
    other = np.sum((logits.astype(np.float64) - expected) ** 2, axis=1)
    if error.sum() == 0:
        return None
    left = max(float(other.sum()), 1e-30)
    gain = 10 * math.log10(float(error.sum()) / left)
    explained = 10 * math.log10(max(float(np.sum(logits.astype(np.float64) ** 2)), 1e-30) / left)
    surely = sign_test(int(np.sum(other < error)), len(error)) < MAX_P
    return gain if min(gain, explained) >= MIN_GAIN_DB and surely else None


def sign_test(wins: int, samples: int) -> float:
    """One-sided probability of at least `wins` heads in `samples` fair tosses."""
    return float(sum(math.comb(samples, k) for k in range(wins, samples + 1)) / 2**samples)


def _exchanged_outputs(logits: Array, reference: Array, labels: tuple[str, ...]) -> str | None:
    """Columns that fit another label's column: found as cycles of the nearest-column map."""
    logits = logits.astype(np.float64)
    power = np.sum(logits**2, axis=0)[:, None] + np.sum(reference.astype(np.float64) ** 2, axis=0)[None]
    distance = power - 2 * logits.T @ reference
    moved = cycles(distance.argmin(axis=1))
    if not moved:
        return None
    here, there = list(moved), list(moved.values())
    if _gain_db(logits[:, here], reference[:, here], reference[:, there]) is None:
        return None
    pairs = [f"`{labels[a]}` carries `{labels[b]}`" for a, b in list(moved.items())[:4]]
    return "outputs exchanged: " + ", ".join(pairs) + (", …" if len(moved) > 4 else "")


def cycles(nearest: Array) -> dict[int, int]:
    """The part of a map that permutes its elements, fixed points left out."""
    image = set(range(len(nearest)))
    while (smaller := {int(nearest[i]) for i in image}) != image:
        image = smaller
    return {i: int(nearest[i]) for i in sorted(image) if nearest[i] != i}
