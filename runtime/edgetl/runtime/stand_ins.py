"""What a model is asked when its bundle carries no golden set: seeded samples that mean nothing."""

from collections.abc import Callable

import numpy as np

from edgetl.bundle import Bundle
from edgetl.tasks.preparation import SampleKind
from edgetl.types import Feeds

WORDS = 24
"""Texts have up to so many words, of up to nine letters."""


def stand_ins(bundle: Bundle, count: int) -> Feeds:
    """The graph's inputs for `count` such samples. Raises what preparing them raises."""
    return MADE[bundle.manifest.task.takes](bundle, count)


def _noise(bundle: Bundle, count: int) -> Feeds:
    """Pixels, each for itself, of the input's own size: nothing needs to be resized."""
    rng = np.random.default_rng(0)
    return {
        spec.name: rng.integers(0, 256, (count, *(int(axis) for axis in spec.shape[1:])), dtype=np.uint8)
        for spec in bundle.manifest.inputs
    }


def _babble(bundle: Bundle, count: int) -> Feeds:
    """Words of random letters: only the tokeniser knows which ids there are."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    texts = [
        " ".join("".join(rng.choice(letters, rng.integers(1, 10))) for _ in range(rng.integers(1, WORDS + 1)))
        for _ in range(count)
    ]
    return bundle.preparation(texts).feeds


MADE: dict[SampleKind, Callable[[Bundle, int], Feeds]] = {"image": _noise, "text": _babble}
