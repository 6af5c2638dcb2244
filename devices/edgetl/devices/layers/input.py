"""Input layer: do encoded images become the pixels the model was judged on?"""

import numpy as np

from edgetl.devices.preparations import explanation
from edgetl.devices.preparing import Preparing
from edgetl.devices.verdict import Reason
from edgetl.errors import DataError
from edgetl.tasks import ImageClassification, ObjectDetection
from edgetl.types import Array

MAX_MEAN_GREY = 1.0
MAX_P999_GREY = 3.0
"""Another decoder version may differ by this many grey levels in any image, on average and at p99.9."""


def pixels_layer(task: ImageClassification | ObjectDetection, preparing: Preparing) -> Reason:
    """Encoded images through this machine's decoder, or through the device's own code, against the expected pixels."""
    encoded, expected = preparing.encoded, preparing.expected["image"]
    try:
        pixels = preparing.own(encoded) if preparing.own else preparing.prepare(encoded)["image"]
    except DataError as error:
        return Reason(layer="input", verdict="fail", text=error.message)
    if pixels.shape != expected.shape or pixels.dtype != np.uint8:
        text = f"the preparation gives {pixels.dtype} {pixels.shape}, expected is uint8 {expected.shape}"
        return Reason(layer="input", verdict="fail", text=text)
    exact = preparing.own is None and preparing.reader == preparing.here
    mean, high, image = _worst_image(pixels, expected)
    text = f"{len(encoded)} encoded images decode "
    if high == 0 and mean == 0:
        return Reason(layer="input", verdict="pass", text=f"{text}exactly")
    if not exact and mean <= MAX_MEAN_GREY and high <= MAX_P999_GREY:
        return Reason(layer="input", verdict="pass", text=f"{text}within tolerance")
    return Reason(
        layer="input",
        verdict="fail",
        cause=explanation(encoded, pixels, expected, task.input),
        text=f"{text}up to {mean:.2f} grey levels off on average, {high:.0f} at p99.9 (image {image})",
    )


def _worst_image(pixels: Array, expected: Array) -> tuple[float, float, int]:
    """Mean and 99.9th percentile of the absolute difference, each of its worst image, and the image of the first."""
    difference = np.abs(pixels.astype(np.int16) - expected).reshape(len(expected), -1)
    means = difference.mean(axis=1)
    return float(means.max()), float(np.percentile(difference, 99.9, axis=1).max()), int(means.argmax())
