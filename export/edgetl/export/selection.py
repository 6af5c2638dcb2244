"""Training images that neither calibrate nor judge: by them one way of quantising is chosen over another."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from edgetl.devices.numerics import Distance, compare
from edgetl.devices.statistics import p_above
from edgetl.export.golden import stratified
from edgetl.run import SampleRecord
from edgetl.types import Array, Pixels

MAX_CALIBRATION = 512
MAX_SELECTION = 128
STRANGE = 0.2
"""Among 64 images one lost answer is nothing strange for a drop of one point (0.477), two are, just (0.199)."""


class TrainingImages(msgspec.Struct, frozen=True, kw_only=True):
    """Two disjoint parts of `train`, each taking turns through the classes."""

    calibration: tuple[SampleRecord, ...]
    selection: tuple[SampleRecord, ...]


def training_images(samples: Sequence[SampleRecord], seed: int, asked: int | None) -> TrainingImages:
    """Up to `asked` (default 512) images to calibrate with, and up to 128 others, a quarter of a small set."""
    ordered = stratified(samples, len(samples), seed)
    spare = min(MAX_SELECTION, len(ordered) // 4)
    count = min(asked or MAX_CALIBRATION, len(ordered) if asked else len(ordered) - spare)
    return TrainingImages(calibration=tuple(ordered[:count]), selection=tuple(ordered[count : count + MAX_SELECTION]))


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """`pixels` uint8 (images, height, width, 3), `truths` (images,), torch's `logits` (images, labels)."""

    pixels: Pixels
    truths: Array
    logits: Array
    temperature: float

    def first(self, count: int) -> "Selection":
        """The first `count` images only."""
        return msgspec.structs.replace(
            self, pixels=self.pixels[:count], truths=self.truths[:count], logits=self.logits[:count]
        )

    def measure(self, predict: Callable[[Pixels], Array]) -> "Measured":
        """What `predict`, from pixels to logits, does to these images."""
        logits = np.concatenate([predict(self.pixels[i : i + 8]) for i in range(0, len(self.pixels), 8)])
        before, after = self.logits.argmax(1) == self.truths, logits.argmax(1) == self.truths
        return Measured(
            distance=compare(logits, self.logits, self.temperature),
            lost=int(np.sum(before & ~after)),
            gained=int(np.sum(after & ~before)),
        )


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The distance of the logits from torch's; `lost` right answers became wrong, `gained` wrong ones right."""

    distance: Distance
    lost: int
    gained: int

    def plausible(self, max_drop: float, least_db: float) -> bool:
        """Whether a drop of at most `max_drop` points is no strange thing to suspect, and the SQNR is enough."""
        chance = p_above(self.lost, self.gained, self.distance.samples, max_drop / 100, STRANGE)
        return chance > STRANGE and self.distance.sqnr_db >= least_db
