"""Classes of unequal size: whether it matters, and the two remedies, a weighted loss or balanced sampling."""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetl.types import Array

Mode = Literal["auto", "none", "weights", "sampling"]
Remedy = Literal["none", "weights", "sampling"]

IMBALANCED_RATIO = 5.0
"""From here on the classes count as imbalanced. Harm grows with the ratio and is clear at ten (Buda, Maki, Mazurowski
2018, Neural Networks 106); a remedy where none is needed costs accuracy on the frequent classes. Five lies between."""

SAMPLING_RATIO = 20.0
"""From here on weights are not enough: most batches of 32 would hold no image of the rare class, and the one that
does would take a step twenty times the usual. Buda et al. find oversampling the best remedy for strong imbalance."""

BETA = 0.999
"""Cui et al. 2019: about how much of an image the next one of its class repeats. Beyond 1/(1-β) = 1000 images a
class gains little more."""


class Imbalance(msgspec.Struct, frozen=True, kw_only=True):
    """Images in the largest and in the smallest class that has any, and their ratio."""

    largest: int
    smallest: int
    ratio: float
    imbalanced: bool


def imbalance(labels: Array) -> Imbalance:
    """Compares the sizes of the classes that occur among `labels`, indices of shape (samples,)."""
    counts = np.unique(labels, return_counts=True)[1] if len(labels) else np.zeros(1, np.int64)
    largest, smallest = int(counts.max()), int(counts.min())
    ratio = largest / smallest if smallest else 1.0
    return Imbalance(largest=largest, smallest=smallest, ratio=ratio, imbalanced=ratio >= IMBALANCED_RATIO)


def remedy(mode: Mode, labels: Array) -> Remedy:
    """The remedy `mode` asks for; `auto` takes none below a ratio of 5, weights below 20, sampling from there on."""
    if mode != "auto":
        return mode
    found = imbalance(labels)
    if not found.imbalanced:
        return "none"
    return "weights" if found.ratio < SAMPLING_RATIO else "sampling"


def explain(found: Imbalance, chosen: Remedy, what: str = "images") -> str:
    """One line for people: how unequal the classes are, and what is done about it."""
    sizes = f"The largest class has {found.largest} training {what}, the smallest {found.smallest}"
    done = {
        "none": "nothing is done about it" if found.imbalanced else "no remedy is needed",
        "weights": f"the loss weighs each class by its effective number of {what} (Cui et al. 2019)",
        "sampling": "each epoch draws all classes equally often (Buda et al. 2018)",
    }
    return f"{sizes} (ratio {found.ratio:.1f}): {done[chosen]}."


def class_weights(labels: Array, classes: int) -> NDArray[np.float32]:
    """A loss weight for each class, shape (classes,), with mean 1 over the samples so that learning rates keep their
    meaning; 0 for a class without samples.

    Inverse to the effective number of samples, (1 - βⁿ) / (1 - β): Cui, Jia, Lin, Song, Belongie: Class-Balanced
    Loss Based on Effective Number of Samples, CVPR 2019. For classes of a few hundred images this is nearly the
    inverse frequency; large classes keep more weight than that would leave them, because the images of a class of
    many thousands repeat one another, and a hundredfold weight on the rare class would only learn its noise.
    """
    counts = np.bincount(labels, minlength=classes)
    effective = (1 - BETA ** counts.astype(np.float64)) / (1 - BETA)
    weights = np.divide(1.0, effective, out=np.zeros(classes), where=counts > 0)
    return np.asarray(weights * counts.sum() / max(1e-12, float(weights @ counts)), np.float32)


def balanced_order(
    labels: Array, seed_sequence: int | np.random.SeedSequence | np.random.Generator
) -> NDArray[np.int64]:
    """An epoch's order of sample indices, shape (samples,), in which every class occurs equally often.

    The epoch stays as long as the data set: images of rare classes come several times, each of a class once before
    any comes twice; of frequent classes a part that changes with the seed is left out. The same seed, or a generator
    in the same state, gives the same order.
    """
    rng = np.random.default_rng(seed_sequence)
    if not len(labels):
        return np.zeros(0, np.int64)
    sizes = np.unique(labels, return_counts=True)[1]
    classes = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    quotas = rng.permutation([len(part) for part in np.array_split(labels, len(classes))])
    drawn = [_draw(members, quota, rng) for members, quota in zip(classes, quotas.tolist(), strict=True)]
    return rng.permutation(np.concatenate(drawn))


def _draw(members: NDArray[np.int64], quota: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`quota` of the members, in as many whole rounds as needed."""
    rounds = [rng.permutation(members) for _ in range(-(-quota // len(members)))]
    return np.concatenate(rounds)[:quota]
