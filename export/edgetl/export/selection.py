"""Training images that neither calibrate nor judge: by them one way of quantising is chosen over another."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from edgetl.devices.numerics import Distance, compare
from edgetl.export.golden import stratified
from edgetl.run import SampleRecord
from edgetl.types import Array, Pixels

MAX_CALIBRATION = 512
MAX_SELECTION = 128


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
        right = float(np.mean(self.logits.argmax(1) == self.truths))
        left = float(np.mean(logits.argmax(1) == self.truths))
        return Measured(
            distance=compare(logits, self.logits, self.temperature), drop_points=round(100 * (right - left), 4)
        )


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The distance of the logits from torch's, and the drop of top-1 in percentage points."""

    distance: Distance
    drop_points: float
