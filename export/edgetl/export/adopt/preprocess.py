"""`preprocess.toml`: what the imported model expects of a photo or a text, in its own terms."""

import math
from pathlib import Path
from typing import Literal

import msgspec

from edgetl.errors import ConfigError
from edgetl.files import configured, read_bytes, read_toml, unknown_key_hint
from edgetl.tasks.images import ImageInput

Triple = tuple[float, float, float]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

PRESETS: dict[str, dict[str, object]] = {
    # torchvision's weights
    "imagenet": {
        "size": 224, "mode": "crop", "resize": 256, "scale": 255.0, "mean": IMAGENET_MEAN, "std": IMAGENET_STD,
    },
    # keras.applications' `preprocess_input` with mode "tf": -1 to 1
    "keras-tf": {"size": 224, "mode": "squash", "scale": 127.5, "mean": (1.0, 1.0, 1.0)},
    # the same with mode "caffe": BGR, 0 to 255 less a mean
    "keras-caffe": {
        "size": 224, "mode": "squash", "color": "bgr", "scale": 1.0, "mean": (103.939, 116.779, 123.68),
    },
    # Ultralytics' exports: 0 to 1
    "yolo": {"size": 640, "mode": "letterbox", "scale": 255.0},
}  # fmt: skip


class ImagePreprocess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the model wants a photo: cut or stretched to `size`, then (pixel / `scale` - `mean`) / `std`.

    `size` is a side in pixels or [height, width]; `resize` the shorter side before a `crop`, by default its size.
    `mean` and `std` are in the channel order of `color`. `layout`: read from the file unless said. `preset` fills in
    what is not said.
    """

    preset: Literal["imagenet", "keras-tf", "keras-caffe", "yolo"] | None = None
    size: int | tuple[int, int] | None = None
    mode: Literal["crop", "squash", "letterbox"] = "squash"
    resize: int | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    color: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nchw", "nhwc"] | None = None
    scale: float = 255.0
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        numbers = (self.scale, *self.mean, *self.std)
        if not all(map(math.isfinite, numbers)) or min(self.scale, *self.std) <= 0:
            raise ValueError("`scale` and `std` must be positive, `mean` a number")

    @property
    def input(self) -> ImageInput:
        """What the decoder makes of a photo. Raises ConfigError without a size, or for one that cannot be."""
        if self.size is None:
            raise ConfigError("the preprocessing names no `size`", hint="as `size = 224` or `size = [480, 640]`")
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        resize = self.resize or max(height, width)
        return configured(
            {"height": height, "width": width, "resize": resize, "mode": self.mode,
             "interpolation": self.interpolation}, ImageInput,
        )  # fmt: skip

    def rgb(self) -> tuple[Triple, Triple]:
        """`mean` and `std` of the RGB channels on the 0–1 scale, as a task has them."""
        return self._rgb(self.mean), self._rgb(self.std)

    def _rgb(self, values: Triple) -> Triple:
        share = self.scale / 255
        first, second, third = (value * share for value in values)
        return (third, second, first) if self.color == "bgr" else (first, second, third)


class TextPreprocess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the model wants a text: `tokenizer`, a tokenizer.json beside this file, at most `max_length` tokens.

    `ids`, `mask` and `types` are the names of the model's inputs; `types` are all 0 and need not be there.
    """

    tokenizer: str = "tokenizer.json"
    max_length: int
    pad_id: int = 0
    ids: str = "input_ids"
    mask: str = "attention_mask"
    types: str = "token_type_ids"


def read_image_preprocess(path: Path) -> ImagePreprocess:
    """`path` with its preset filled in. Raises ConfigError."""
    said = read_toml(path, ImagePreprocess)
    if said.preset is None:
        return said
    own = msgspec.toml.decode(read_bytes(path, ConfigError))
    try:
        return msgspec.convert({**PRESETS[said.preset], **own}, ImagePreprocess)
    except msgspec.ValidationError as error:
        raise ConfigError(f"`{path}`: {error}", hint=unknown_key_hint(str(error), ImagePreprocess)) from error


def read_text_preprocess(path: Path) -> TextPreprocess:
    """`path`, with `tokenizer` as a path from where edgetl was called. Raises ConfigError."""
    said = read_toml(path, TextPreprocess)
    tokenizer = path.parent / said.tokenizer
    if not tokenizer.is_file():
        raise ConfigError(f"`{tokenizer}` does not exist", hint="`tokenizer` names the model's tokenizer.json")
    return msgspec.structs.replace(said, tokenizer=str(tokenizer))
