"""Generated image files that test a device's decoder: what the user's own photos may happen not to contain."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from edgetl.tasks.images import ImageInput, prepare
from edgetl.types import Array, Pixels

LARGEST = 1024
"""A probe need not grow with the input: a larger input enlarges it."""

ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held; 6: turned to the right."""


def probes(spec: ImageInput) -> list[tuple[str, bytes]]:
    """(file name, content): a photo held upright, a transparent one, 16-bit grey, and fine stripes."""
    makers: dict[str, Callable[[Array], bytes]] = {
        "upright.jpg": _upright,
        "transparent.png": _transparent,
        "grey16.png": _grey16,
        "stripes.png": lambda scene: _png(Image.fromarray(scene.astype(np.uint8))),
    }
    side = min(spec.resize, LARGEST)
    scene = _scene(round(side * 1.2), round(side * 1.5))
    return [(f"golden/probes/{name}", make(scene)) for name, make in makers.items()]


def expected_pixels(encoded: list[tuple[str, bytes]], spec: ImageInput) -> Pixels:
    """What the probes must become, uint8 (probes, height, width, 3)."""
    return np.stack([prepare(content, spec) for _, content in encoded])


def _scene(height: int, width: int) -> Array:
    """Stripes that become finer to the right, another gradient in every channel: no two halves are alike."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    stripes = np.sin(x * x / width / 2.5) * 60
    channels = [stripes + 100 + 80 * y / height, stripes + 60 + 120 * x / width, stripes + 90]
    return np.asarray(np.clip(np.stack(channels, axis=-1), 0, 255))


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _upright(scene: Array) -> bytes:
    image = Image.fromarray(scene.astype(np.uint8))
    exif = image.getexif()
    exif[ORIENTATION] = 6
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90, exif=exif)
    return stream.getvalue()


def _transparent(scene: Array) -> bytes:
    alpha = np.linspace(0, 255, scene.shape[0])[:, None, None] * np.ones((1, scene.shape[1], 1))
    return _png(Image.fromarray(np.concatenate([scene, alpha], axis=-1).astype(np.uint8), "RGBA"))


def _grey16(scene: Array) -> bytes:
    return _png(Image.fromarray((scene[..., 0] * 257).astype(np.uint16)))
