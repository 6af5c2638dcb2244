"""What a detector can do: learn from photos with boxes, and answer with a fixed number of boxes and scores."""

from abc import ABC, abstractmethod
from typing import TypedDict

from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from edgetl.finetune.detection.models.options import DetectorOptions


class Target(TypedDict):
    """The objects of one photo: `boxes` (objects, 4) left, top, right, bottom in pixels of the input, float32;
    `labels` (objects,) int64, from 0.
    """

    boxes: Tensor
    labels: Tensor


class Detector(nn.Module, ABC):
    """A network from normalised images, float32 (batch, 3, height, width), to boxes and scores.

    What turns its convolutions' outputs into boxes and scores is its child `decoding`, which has no weights.
    `options`: what it was built with, defaults filled in.
    """

    decoding: nn.Module
    options: DetectorOptions

    @property
    @abstractmethod
    def body(self) -> nn.Module:
        """The backbone, which may carry pretrained weights; all else starts at random."""

    @abstractmethod
    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """The parts of the loss by name, to be summed; in training mode. A photo may have no objects."""

    @abstractmethod
    def decode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`boxes` (batch, rows, 4) in pixels of the input and `scores` (batch, rows, labels), 0–1.

        In evaluation mode. The number of rows is fixed, and nothing is suppressed.
        """

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode(images)


def backbone_parameters(detector: Detector) -> list[nn.Parameter]:
    """Those that may be pretrained, for a smaller learning rate; all others start at random."""
    return list(detector.body.parameters())


class AsGiven(nn.Module):
    """In the place of torchvision's own resizing and normalisation: the images are ready."""

    def forward(self, images: Tensor, targets: list[Target] | None) -> tuple[ImageList, list[Target] | None]:
        return ImageList(images, [(images.shape[2], images.shape[3])] * len(images)), targets

    def postprocess(
        self, result: list[dict[str, Tensor]], shapes: object, originals: object
    ) -> list[dict[str, Tensor]]:
        return result


def from_one(targets: list[Target]) -> list[Target]:
    """With labels from 1, for networks whose class 0 is the background."""
    return [Target(boxes=target["boxes"], labels=target["labels"] + 1) for target in targets]
