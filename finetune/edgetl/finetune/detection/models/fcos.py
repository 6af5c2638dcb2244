"""FCOS: no anchors; each place of a feature pyramid says how far the borders of its object are.

Tian et al., "FCOS: A Simple and Strong Anchor-Free Object Detector", 2020.
"""

import msgspec
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from edgetl.finetune.detection.models.decoding import Distances, anchors_of
from edgetl.finetune.detection.models.detector import AsGiven, Detector, Target
from edgetl.finetune.detection.models.features import FeatureMaps, Pyramid, grids
from edgetl.finetune.detection.models.options import DetectorOptions

WIDTH = 128
"""The paper has 256 channels, at four times the cost."""

EXTRA = 2
"""Maps beyond the backbone's."""


class FcosDecoding(nn.Module):
    """The head's outputs as boxes and scores; a place far from its object's centre counts less."""

    def __init__(self, boxes: Distances) -> None:
        super().__init__()
        self.boxes = boxes

    def forward(self, distances: Tensor, logits: Tensor, centrality: Tensor) -> tuple[Tensor, Tensor]:
        return self.boxes(distances), torch.sqrt(torch.sigmoid(logits) * torch.sigmoid(centrality))


class Fcos(Detector):
    """torchvision's FCOS on a registry backbone."""

    def __init__(self, maps: FeatureMaps, labels: int, size: tuple[int, int], options: DetectorOptions) -> None:
        super().__init__()
        width, levels = options.width or WIDTH, len(maps.strides) + EXTRA
        self.options = msgspec.structs.replace(options, width=width)
        sides = tuple((maps.strides[0] * 2**level,) for level in range(levels))
        places = AnchorGenerator(sides, ((1.0,),) * levels)
        pyramid = Pyramid(maps, width, LastLevelP6P7(width, width))
        self.net = FCOS(pyramid, labels, anchor_generator=places)
        self.net.transform = AsGiven()
        self.decoding = FcosDecoding(Distances(anchors_of(places, size, grids(maps, size, levels)), size))

    @property
    def body(self) -> nn.Module:
        body: nn.Module = self.net.backbone.body
        return body

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = self.net(images, targets)
        return losses

    def decode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.net.head(list(self.net.backbone(images).values()))
        answers: tuple[Tensor, Tensor] = self.decoding(
            found["bbox_regression"], found["cls_logits"], found["bbox_ctrness"]
        )
        return answers
