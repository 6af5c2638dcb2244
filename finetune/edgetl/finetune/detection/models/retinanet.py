"""RetinaNet: dense anchors on a feature pyramid, learnt by the focal loss.

Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
"""

import msgspec
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNet as TorchvisionRetinaNet
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from edgetl.finetune.detection.models.decoding import Offsets, anchors_of
from edgetl.finetune.detection.models.detector import AsGiven, Detector, Target
from edgetl.finetune.detection.models.features import FeatureMaps, Pyramid, grids
from edgetl.finetune.detection.models.options import DetectorOptions

WIDTH = 128
"""The paper has 256 channels, at four times the cost."""

EXTRA = 2
"""Maps beyond the backbone's."""

OCTAVES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
RATIOS = (0.5, 1.0, 2.0)

PAPER_SIDE = 640
"""At this side of the input the anchors are the paper's, four strides; smaller inputs show things smaller."""


def anchor_sides(maps: FeatureMaps, size: tuple[int, int], levels: int) -> list[float]:
    """The smallest anchor of each map, in pixels: two to four of its strides."""
    strides = min(4.0, max(2.0, 4 * max(size) / PAPER_SIDE))
    return [maps.strides[0] * 2**level * strides for level in range(levels)]


class RetinaNetDecoding(nn.Module):
    """The head's outputs as boxes and scores; each label for itself."""

    def __init__(self, boxes: Offsets) -> None:
        super().__init__()
        self.boxes = boxes

    def forward(self, offsets: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        return self.boxes(offsets), torch.sigmoid(logits)


class RetinaNet(Detector):
    """torchvision's RetinaNet on a registry backbone."""

    def __init__(self, maps: FeatureMaps, labels: int, size: tuple[int, int], options: DetectorOptions) -> None:
        super().__init__()
        width, levels = options.width or WIDTH, len(maps.strides) + EXTRA
        self.options = msgspec.structs.replace(options, width=width)
        sides = anchor_sides(maps, size, levels)
        anchors = AnchorGenerator(
            tuple(tuple(side * octave for octave in OCTAVES) for side in sides), (RATIOS,) * levels
        )
        pyramid = Pyramid(maps, width, LastLevelP6P7(width, width))
        self.net = TorchvisionRetinaNet(pyramid, labels, anchor_generator=anchors)
        self.net.transform = AsGiven()
        self.decoding = RetinaNetDecoding(Offsets(anchors_of(anchors, size, grids(maps, size, levels)), size))

    @property
    def body(self) -> nn.Module:
        body: nn.Module = self.net.backbone.body
        return body

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = self.net(images, targets)
        return losses

    def decode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.net.head(list(self.net.backbone(images).values()))
        answers: tuple[Tensor, Tensor] = self.decoding(found["bbox_regression"], found["cls_logits"])
        return answers
