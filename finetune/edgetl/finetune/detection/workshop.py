"""What training and judging share: decoded photos, the device, the detector's answers, and who chooses."""

import numpy as np
import torch
from torch import Tensor, nn

from edgetl.finetune.cache.pictures import Pictures, decode_once
from edgetl.finetune.cache.room import Cache
from edgetl.finetune.data.splits import hold_out
from edgetl.finetune.data.table import Samples
from edgetl.finetune.detection.data import BoxedDataset
from edgetl.finetune.detection.judging import answers
from edgetl.finetune.detection.models.detector import Detector, Target
from edgetl.finetune.detection.start import Start
from edgetl.tasks.detections import LEAST_SCORE, Found
from edgetl.tasks.images import ImageInput
from edgetl.types import Track

MIN_HELD_OUT = 20
"""Fewer photos than this choose no epoch and no threshold: their noise is larger than what there is to choose."""


class Workshop:
    """The photos decoded, the device, and the detector's answers: what training and judging share."""

    def __init__(self, start: Start, data: BoxedDataset, cache: Cache, track: Track) -> None:
        self.start, self.data, self.cache, self.track = start, data, cache, track
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def pictures(self, samples: Samples, spec: ImageInput) -> Pictures:
        return decode_once(samples, self.data.dataset.root, spec, self.cache, self.track)[0]

    def found(self, samples: Samples, *, bf16: bool = False, least: float = LEAST_SCORE) -> list[Found]:
        """What the detector finds in the photos, in their own pixels."""
        task = self.start.task
        pictures = self.pictures(samples, task.input)
        sizes = self.data.sizes(samples)
        return answers(self.start.detector, task, pictures, sizes, self.device, self.track, bf16=bf16, least=least)


def pools(data: BoxedDataset, fraction: float, seed: int) -> tuple[Samples, Samples | None]:
    """The photos to learn from, and those for choices: `val` when `test` is the headline, else a part of train."""
    train_split, dataset = data.dataset.split("train"), data.dataset
    if dataset.headline == "test":
        held = dataset.split("val")
        return train_split, held if len(held) >= MIN_HELD_OUT else None
    if round(len(train_split) * fraction) < MIN_HELD_OUT:
        return train_split, None
    return hold_out(train_split, fraction, seed)


class WithLoss(nn.Module):
    """A detector as a function from images to its loss, on the first photos' boxes: to probe how fast it learns."""

    def __init__(self, detector: Detector, data: BoxedDataset, samples: Samples, spec: ImageInput) -> None:
        super().__init__()
        self.detector = detector
        count = int(np.median([len(boxes) for boxes in data.boxes(samples)]))
        side = min(spec.height, spec.width)
        box = torch.tensor([[0.2 * side, 0.2 * side, 0.4 * side, 0.4 * side]])
        self.target = Target(boxes=box.repeat(count, 1), labels=torch.zeros(count, dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        losses = self.detector.loss(images, [self.target] * len(images))
        return torch.stack([each.float() for each in losses.values()]).sum()
