"""Input layer: do encoded images become the pixels the model was judged on?"""

from collections.abc import Callable, Sequence

import numpy as np

from edgetl.devices.preparations import explanation
from edgetl.devices.verdict import Reason
from edgetl.errors import DataError
from edgetl.tasks import Task
from edgetl.tasks.images import decoder_version
from edgetl.types import Array, Pixels

Preprocess = Callable[[Sequence[bytes]], Pixels]
"""A device's own preparation: encoded images → uint8 RGB of shape (images, height, width, 3)."""

MAX_MEAN_GREY = 1.0
MAX_P999_GREY = 3.0
"""Another decoder version may differ by this many grey levels in any image, on average and at p99.9."""


def input_layer(
    task: Task, encoded: Sequence[bytes], expected: Pixels, decoder: str, preprocess: Preprocess | None = None
) -> Reason:
    """`encoded` through this machine's decoder, or through `preprocess`, against the `expected` pixels."""
    try:
        pixels = preprocess(encoded) if preprocess else task.preprocess(encoded)["image"]
    except DataError as error:
        return Reason(layer="input", verdict="fail", text=error.message)
    if pixels.shape != expected.shape or pixels.dtype != np.uint8:
        text = f"the preparation gives {pixels.dtype} {pixels.shape}, expected is uint8 {expected.shape}"
        return Reason(layer="input", verdict="fail", text=text)
    exact = preprocess is None and decoder == decoder_version()
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
