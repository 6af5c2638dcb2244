"""From an encoded image of any kind to the RGB pixels the graph reads: the one decoder of edgetl."""

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import PIL
from PIL import Image, ImageOps, features

from edgetl.errors import DataError, first_line
from edgetl.types import Array, Feeds, Pixels, TensorSpec

Sample = str | Path | bytes | bytearray | memoryview | Image.Image | Pixels

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm")
)
BROKEN = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, KeyError, ZeroDivisionError,
    OverflowError, MemoryError, NotImplementedError,
)  # fmt: skip
"""What Pillow raises for broken files."""

MAX_PIXELS = 89_478_485
"""Larger images are refused before they are decoded (Pillow's own warning threshold)."""

BARS = 114
"""The grey of a letterbox's bars, as YOLO's trainers have it."""

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


class ImageInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How pixels reach the graph: `crop` resizes the shorter side and cuts the centre, `squash` stretches, `letterbox`
    keeps all of the photo in its proportions, centred between grey bars.

    Sizes are in pixels. The interpolation is antialiased, as Pillow's `resize` does it.
    """

    height: int
    width: int
    resize: int
    mode: Literal["crop", "squash", "letterbox"] = "crop"
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        if not (1 <= self.height <= 4096 and 1 <= self.width <= 4096 and self.resize <= 8192):
            raise ValueError("the input size must lie between 1 and 4096 pixels")
        if self.mode == "crop" and self.resize < max(self.height, self.width):
            raise ValueError("`resize` must not be smaller than the crop")


def decoder_version() -> str:
    """Pillow and the JPEG library behind it: two machines with the same string decode alike."""
    return f"Pillow {PIL.__version__}, libjpeg {features.version('jpg') or 'none'}"


def prepare(sample: Sample, spec: ImageInput, *, color: Literal["rgb", "bgr"] = "rgb") -> Pixels:
    """One sample as uint8 RGB of shape (height, width, 3). `color` is the order of an array sample.

    Raises DataError when the sample cannot be decoded.
    """
    return np.asarray(resize(opened(sample, color=color), spec))


def opened(sample: Sample, *, color: Literal["rgb", "bgr"] = "rgb") -> Image.Image:
    """One sample as an upright RGB image of its own size. Raises DataError."""
    if isinstance(sample, np.ndarray):
        return _from_array(sample, color)
    if isinstance(sample, Image.Image):
        return _guarded(lambda: to_rgb(sample), "the image")
    if isinstance(sample, bytearray | memoryview):
        return decode(bytes(sample))
    if isinstance(sample, str | Path | bytes):
        return decode(sample)
    raise DataError(
        f"a sample cannot be a `{type(sample).__name__}`",
        hint="pass a path, encoded bytes, a PIL image or an array of pixels, or a list of them",
    )


def decode(source: str | Path | bytes, *, upright: bool = True) -> Image.Image:
    """Decodes a file or its bytes to an upright 8-bit RGB image. Raises DataError.

    `upright=False` leaves the pixels as they are stored: the mistake of ignoring EXIF, to recognise it.
    """
    name = "the image" if isinstance(source, bytes) else f"`{source}`"

    def whole() -> Image.Image:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            return to_rgb(image, upright=upright)

    return _guarded(whole, name)


def _guarded(decoding: Callable[[], Image.Image], name: str) -> Image.Image:
    """Pillow raises a dozen exception types for broken files; each becomes a DataError that names the file."""
    try:
        return decoding()
    except FileNotFoundError as error:
        raise DataError(f"{name} does not exist", hint="check the path") from error
    except PIL.UnidentifiedImageError as error:  # whose own text is the address of an object in memory
        raise DataError(
            f"{name} cannot be decoded (it is no image of a known format)",
            hint="is it a whole JPEG, PNG, GIF, BMP, WebP, TIFF or PPM image?",
        ) from error
    except (*BROKEN, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{name} cannot be decoded ({first_line(error)})",
            hint="is it a whole JPEG, PNG, GIF, BMP, WebP, TIFF or PPM image?",
        ) from error


def to_rgb(image: Image.Image, *, upright: bool = True) -> Image.Image:
    """Upright 8-bit RGB from any Pillow mode; the first frame of an animation.

    Transparent pixels become white, 16-bit grey is scaled to 8 bit, CMYK is converted.
    """
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} × {image.height} pixels are more than {MAX_PIXELS}")
    image.load()
    image = ImageOps.exif_transpose(image) if upright else image
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = np.clip(np.asarray(image).astype(np.int64), 0, 65535) // 257
        image = Image.fromarray(grey.astype(np.uint8))
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def resize(image: Image.Image, spec: ImageInput) -> Image.Image:
    """Resizes and crops in one step: only the pixels that remain are computed, whatever the aspect ratio.

    The geometry is torchvision's Resize + CenterCrop (v1 transforms), so published weights see what they expect.
    """
    size, method = (spec.width, spec.height), RESAMPLING[spec.interpolation]
    if spec.mode == "squash":
        return image.resize(size, method)
    if spec.mode == "letterbox":
        return _letterboxed(image, spec)
    return image.resize(size, method, box=crop_box(image.size, spec))


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a photo lies in the input: a point of the photo, times `scale` (x, y), plus `offset` (x, y), in pixels."""

    scale: tuple[float, float]
    offset: tuple[float, float]


def placement(source: tuple[int, int], spec: ImageInput) -> Placement:
    """Where a photo of (width, height) lies in an input made by `squash` or `letterbox`."""
    if spec.mode == "squash":
        return Placement(scale=(spec.width / source[0], spec.height / source[1]), offset=(0.0, 0.0))
    width, height, left, top = _letterbox(source, spec)
    return Placement(scale=(width / source[0], height / source[1]), offset=(float(left), float(top)))


def _letterbox(source: tuple[int, int], spec: ImageInput) -> tuple[int, int, int, int]:
    """Width and height of the resized photo, and the bars left of it and above it, in whole pixels."""
    scale = min(spec.width / source[0], spec.height / source[1])
    width = min(spec.width, max(1, round(source[0] * scale)))
    height = min(spec.height, max(1, round(source[1] * scale)))
    return width, height, (spec.width - width) // 2, (spec.height - height) // 2


def _letterboxed(image: Image.Image, spec: ImageInput) -> Image.Image:
    width, height, left, top = _letterbox(image.size, spec)
    canvas = Image.new("RGB", (spec.width, spec.height), (BARS,) * 3)
    canvas.paste(image.resize((width, height), RESAMPLING[spec.interpolation]), (left, top))
    return canvas


def pixel_input(spec: ImageInput) -> TensorSpec:
    """The graph's input `image`: uint8 RGB of shape (batch, height, width, 3)."""
    return TensorSpec(name="image", dtype="uint8", shape=("batch", spec.height, spec.width, 3))


def order_images(samples: Sequence[Sample]) -> list[int]:
    """In which order samples are best batched: as they come, since all inputs are of one size."""
    return list(range(len(samples)))


def take_images(feeds: Feeds, rows: Array) -> Feeds:
    """The `rows` of recorded inputs."""
    return {"image": feeds["image"][rows]}


def join_images(parts: Sequence[Feeds]) -> Feeds:
    """One batch of several."""
    return {"image": np.concatenate([part["image"] for part in parts])}


def crop_box(source: tuple[int, int], spec: ImageInput) -> tuple[float, float, float, float]:
    """The centre crop (left, top, right, bottom) in the coordinates of a `source` of (width, height)."""
    shorter = min(source)
    resized = [max(spec.resize, math.floor(spec.resize * side / shorter)) for side in source]
    crop = (spec.width, spec.height)
    start = [round((whole - part) / 2) for whole, part in zip(resized, crop, strict=True)]
    scale = [side / whole for side, whole in zip(source, resized, strict=True)]
    end = [
        min(side, (begin + part) * factor) for side, begin, part, factor in zip(source, start, crop, scale, strict=True)
    ]
    return start[0] * scale[0], start[1] * scale[1], end[0], end[1]


def _from_array(pixels: Pixels, color: Literal["rgb", "bgr"]) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise DataError(
            f"an array sample must be uint8 of shape (height, width, 3), not {pixels.dtype} {pixels.shape}",
            hint="pass HWC pixels from 0 to 255",
        )
    return Image.fromarray(np.ascontiguousarray(pixels[..., ::-1] if color == "bgr" else pixels))
