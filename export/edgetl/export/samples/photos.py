"""Generated image files: probes of a device's decoder, and noise in place of photos that must not travel."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from edgetl.tasks import ImageClassification, ObjectDetection
from edgetl.tasks.preparation import Preparation
from edgetl.types import Array

ImageTask = ImageClassification | ObjectDetection

LARGEST = 1024
"""A probe need not grow with the input: a larger input enlarges it."""

ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held; 6: turned to the right."""


def probes(task: ImageTask, preparation: Preparation) -> list[tuple[str, bytes]]:
    """(file name, content): a photo held upright, a transparent one, 16-bit grey, and fine stripes: what the user's own
    photos may happen not to contain.
    """
    makers: dict[str, Callable[[Array], bytes]] = {
        "upright.jpg": _upright,
        "transparent.png": _transparent,
        "grey16.png": _grey16,
        "stripes.png": lambda scene: _png(Image.fromarray(scene.astype(np.uint8))),
    }
    side = min(task.input.resize, LARGEST)
    scene = _scene(round(side * 1.2), round(side * 1.5))
    return [(f"golden/probes/{name}", make(scene)) for name, make in makers.items()]


def noise(task: ImageTask, preparation: Preparation, count: int, seed: int) -> list[bytes]:
    """Coloured noise with the falling spectrum of natural images, larger than the input so that resizing is tested."""
    rng = np.random.default_rng(seed)
    size = round(task.input.height * 1.4), round(task.input.width * 1.7)
    return [_noise_png(rng, *size) for _ in range(count)]


def _noise_png(rng: np.random.Generator, height: int, width: int) -> bytes:
    """1/f noise, each channel its own share of a common pattern (Field, JOSA A 4, 1987)."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    spectrum = 1 / np.maximum(frequency, 1 / max(height, width))
    layers = [
        np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) * spectrum, (height, width)) for _ in "crgb"
    ]
    image = np.stack([layers[0] + 0.7 * layer for layer in layers[1:]], axis=-1)
    scaled = 128 + 55 * rng.uniform(0.6, 1.4) * image / image.std() + rng.uniform(-30, 30, 3)
    stream = io.BytesIO()
    Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


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
