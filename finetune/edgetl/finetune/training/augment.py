"""Random views of prepared pixels: uint8 in, uint8 out, the same for the same seed on any number of threads.

The draws are ours, because torchvision's come from one global generator: their order would depend on threads and on
where a run was interrupted. The image operations are torchvision's.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from edgetl.types import Pixels

Augment = Literal["none", "shift", "crop-flip"]

CROP_AREA = (0.35, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
"""Area and aspect ratio of a random crop: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, with a
smallest area that keeps small subjects in the picture."""
TRIES = 10

SHIFT_DEGREES, SHIFT_PART, SHIFT_SCALE = 8.0, 0.08, (0.9, 1.1)
"""`shift` turns, moves and scales a little: for digits, symbols and parts, which a flip would change."""


def augmented(image: Pixels, kind: Augment, seed: int, epoch: int, digest: bytes) -> Pixels:
    """A random view of `image` (height, width, 3): the one that belongs to this seed, epoch and image file."""
    if kind == "none":
        return image
    rng = np.random.default_rng([seed, epoch, int.from_bytes(digest[:8], "little")])
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)  # a mapped image is not writable
    view: Tensor = AUGMENTATIONS[kind](pixels, rng)
    return np.asarray(view.permute(1, 2, 0).contiguous().numpy())


def _crop_flip(image: Tensor, rng: np.random.Generator) -> Tensor:
    height, width = image.shape[1:]
    top, left, rows, columns = _crop(height, width, rng)
    # a crop is never larger than its result, so there is nothing to antialias
    view: Tensor = F.resized_crop(image, top, left, rows, columns, [height, width], antialias=False)
    flipped: Tensor = F.horizontal_flip(view) if rng.random() < 0.5 else view
    return flipped


def _crop(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """(top, left, rows, columns) of a random crop; the whole image when none of the tries fits inside."""
    for _ in range(TRIES):
        area = height * width * rng.uniform(*CROP_AREA)
        ratio = math.exp(rng.uniform(math.log(CROP_RATIO[0]), math.log(CROP_RATIO[1])))
        rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < rows <= height and 0 < columns <= width:
            return int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1)), rows, columns
    return 0, 0, height, width


def _shift(image: Tensor, rng: np.random.Generator) -> Tensor:
    height, width = image.shape[1:]
    moved: Tensor = F.affine(
        image,
        angle=rng.uniform(-SHIFT_DEGREES, SHIFT_DEGREES),
        translate=[round(rng.uniform(-SHIFT_PART, SHIFT_PART) * side) for side in (width, height)],
        scale=rng.uniform(*SHIFT_SCALE),
        shear=[0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
    )
    return moved


AUGMENTATIONS: dict[str, Callable[[Tensor, np.random.Generator], Tensor]] = {"shift": _shift, "crop-flip": _crop_flip}
