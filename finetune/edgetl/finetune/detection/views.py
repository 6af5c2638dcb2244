"""What a training step sees: random views of photos with their boxes, letterboxed as in evaluation.

The transforms are torchvision's; they draw from torch's generator, which is seeded for every step and then put back,
so that a resumed training sees the same views.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from edgetl.finetune.cache.pictures import Pictures
from edgetl.finetune.detection.config import Augment
from edgetl.finetune.detection.models.detector import Target
from edgetl.run import BoxRecord
from edgetl.tasks.detections import in_input
from edgetl.tasks.images import BARS, ImageInput, placement, resize
from edgetl.types import Array, Pixels

CANVAS = 1.5
"""Photos are kept so much larger than the input, so that what is cut from them is still sharp."""

TRIALS = 12
"""So many cuts are tried for each wanted overlap; more find hardly any and cost more than all else here."""

SMALLEST = 2.0
"""Pixels of the input: a smaller rest of a box teaches nothing."""


class Views(msgspec.Struct, frozen=True, kw_only=True):
    """The photos of `pictures` (letterboxed, larger than the input) with their sizes and boxes."""

    pictures: Pictures
    sizes: Sequence[tuple[int, int]]
    boxes: Sequence[tuple[BoxRecord, ...]]
    input: ImageInput
    augment: Augment
    seed: int

    def read(self, positions: NDArray[np.int64], epoch: int) -> tuple[Pixels, list[Target]]:
        """uint8 (positions, height, width, 3) and the boxes in them: the same for the same seed and epoch."""
        transform = AUGMENTATIONS[self.augment]()
        views = []
        with torch.random.fork_rng(devices=[]):
            for position, canvas in zip(positions, self.pictures.read(positions), strict=True):
                torch.manual_seed(_seed(self.seed, epoch, int(position)))
                views.append(self._view(int(position), canvas, transform))
        return np.stack([pixels for pixels, _ in views]), [target for _, target in views]

    def _view(self, position: int, canvas: Pixels, transform: Callable[..., Any]) -> tuple[Pixels, Target]:
        photo, boxes = without_bars(canvas, self.sizes[position], self.pictures.spec, self.boxes[position])
        height, width = photo.shape[:2]
        sample = transform(
            {
                "image": tv_tensors.Image(torch.from_numpy(photo.copy()).permute(2, 0, 1)),
                "boxes": tv_tensors.BoundingBoxes(boxes[:, :4], format="XYXY", canvas_size=(height, width)),
                "labels": torch.from_numpy(boxes[:, 4].astype(np.int64)),
            }
        )
        image: Image.Image = F.to_pil_image(sample["image"])
        moved = in_input(sample["boxes"].numpy().astype(np.float64), image.size, self.input)
        kept = (moved[:, 2:] - moved[:, :2]).min(axis=1, initial=np.inf) >= SMALLEST
        labels = sample["labels"][torch.from_numpy(kept)]
        target = Target(boxes=torch.from_numpy(moved[kept]).float(), labels=labels)
        return np.asarray(resize(image, self.input)), target


def canvas_of(spec: ImageInput) -> ImageInput:
    """The larger letterbox that views are cut from."""
    height, width = (min(4096, round(side * CANVAS)) for side in (spec.height, spec.width))
    return msgspec.structs.replace(spec, height=height, width=width, resize=max(height, width))


def without_bars(
    canvas: Pixels, size: tuple[int, int], spec: ImageInput, boxes: Sequence[BoxRecord]
) -> tuple[Pixels, Array]:
    """The photo of `size` inside its `canvas`, and its boxes there as rows of left, top, right, bottom, label.

    Objects that are to be ignored are left out: torchvision's losses know no such boxes.
    """
    lies = placement(size, spec)
    left, top = (int(each) for each in lies.offset)
    width, height = (round(side * factor) for side, factor in zip(size, lies.scale, strict=True))
    table = np.array([[b.left, b.top, b.right, b.bottom, b.label] for b in boxes if not b.ignored], np.float64)
    table = table.reshape(-1, 5)
    table[:, :4] = in_input(table[:, :4], size, spec) - np.array([left, top, left, top])
    return canvas[top : top + height, left : left + width], table


def _seed(seed: int, epoch: int, position: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, position]).generate_state(1, np.uint64)[0] >> 1)


def _light() -> v2.Transform:
    return v2.RandomApply([v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3)], p=0.5)


def _zoom_crop() -> v2.Transform:
    """As SSD is trained (Liu et al., ECCV 2016), with milder zooming and light."""
    zoom = v2.RandomZoomOut(fill={tv_tensors.Image: (BARS,) * 3}, side_range=(1.0, 2.0), p=0.3)
    return v2.Compose(
        [zoom, v2.RandomIoUCrop(trials=TRIALS), v2.RandomHorizontalFlip(), _light(), v2.SanitizeBoundingBoxes()]
    )


def _top_down() -> v2.Transform:
    turn = v2.RandomChoice([v2.Identity(), v2.RandomRotation((90, 90), expand=True)])
    return v2.Compose([_zoom_crop(), v2.RandomVerticalFlip(), turn])


AUGMENTATIONS: dict[Augment, Callable[[], Callable[..., Any]]] = {
    "none": v2.Identity,
    "flip": v2.RandomHorizontalFlip,
    "zoom-crop": _zoom_crop,
    "top-down": _top_down,
}
