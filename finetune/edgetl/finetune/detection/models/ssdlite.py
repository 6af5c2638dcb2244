"""SSDLite: depthwise heads on maps at strides 8 to 256; small and fast, for processors.

Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016; Sandler et al., "MobileNetV2", CVPR 2018, section 6.2.
"""

from functools import partial

import msgspec
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.ops import Conv2dNormActivation

from edgetl.finetune.detection.models.decoding import Offsets, anchors_of
from edgetl.finetune.detection.models.detector import AsGiven, Detector, Target, from_one
from edgetl.finetune.detection.models.features import FeatureMaps, grids
from edgetl.finetune.detection.models.options import DetectorOptions

EXTRA = (512, 256, 256)
"""Channels of the maps beyond the backbone's; a shallow backbone gets more of the last kind."""

LEVELS = 6

SCALES = (0.04, 0.1, 0.2, 0.37, 0.54, 0.71, 0.88)
"""Sides of the default boxes by map, as shares of the input: from 13 pixels of 320 up to all of it.

torchvision's smallest are a fifth of the input, for COCO's photos of one large thing; cells and screws are smaller.
"""

RATIOS = ([2], [2, 3], [2, 3], [2, 3], [2, 3], [2, 3])
"""The finest map has most places, and so the fewest shapes."""

norm = partial(nn.BatchNorm2d, eps=1e-3)


class Maps(nn.Module):
    """The backbone's maps and, below them, ever coarser ones."""

    def __init__(self, maps: FeatureMaps) -> None:
        super().__init__()
        self.body = maps.body
        wanted = LEVELS - len(maps.channels)
        self.out_channels = [*maps.channels, *(*EXTRA, *EXTRA[-1:] * wanted)[:wanted]]
        pairs = zip(self.out_channels[-wanted - 1 :], self.out_channels[-wanted:], strict=False)
        self.extra = nn.ModuleList(halved(inputs, outputs) for inputs, outputs in pairs)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = list(self.body(images).values())
        for block in self.extra:
            maps.append(block(maps[-1]))
        return {str(i): each for i, each in enumerate(maps)}


def halved(inputs: int, outputs: int) -> nn.Sequential:
    """SSDLite's extra block: pointwise, depthwise with stride 2, pointwise."""
    block = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.ReLU6)
    middle = outputs // 2
    found = nn.Sequential(
        block(inputs, middle, kernel_size=1),
        block(middle, middle, kernel_size=3, stride=2, groups=middle),
        block(middle, outputs, kernel_size=1),
    )
    for layer in found.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.03)
    return found


class SsdLiteDecoding(nn.Module):
    """The head's outputs as boxes and scores; a softmax over labels and background."""

    def __init__(self, boxes: Offsets) -> None:
        super().__init__()
        self.boxes = boxes

    def forward(self, offsets: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        return self.boxes(offsets), torch.softmax(logits, dim=-1)[..., 1:]


class SsdLite(Detector):
    """torchvision's SSD with SSDLite's head on a registry backbone."""

    def __init__(self, maps: FeatureMaps, labels: int, size: tuple[int, int], options: DetectorOptions) -> None:
        super().__init__()
        self.options = msgspec.structs.replace(options, scales=options.scales or SCALES)
        features = Maps(maps)
        anchors = DefaultBoxGenerator([*RATIOS], scales=list(self.options.scales))
        head = SSDLiteHead(features.out_channels, anchors.num_anchors_per_location(), labels + 1, norm)
        self.net = SSD(features, anchors, size, labels + 1, head=head)
        self.net.transform = AsGiven()
        self.decoding = SsdLiteDecoding(
            Offsets(anchors_of(anchors, size, grids(maps, size, LEVELS)), size, self.net.box_coder.weights)
        )

    @property
    def body(self) -> nn.Module:
        body: nn.Module = self.net.backbone.body
        return body

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = self.net(images, from_one(targets))
        return losses

    def decode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.net.head(list(self.net.backbone(images).values()))
        answers: tuple[Tensor, Tensor] = self.decoding(found["bbox_regression"], found["cls_logits"])
        return answers
