"""Faster R-CNN: regions that may hold something, then what they hold; accurate and slow.

Ren et al., "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks", NIPS 2015.
"""

import msgspec
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FasterRCNN as TorchvisionFasterRCNN
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import MultiScaleRoIAlign, roi_align
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.poolers import LevelMapper

from edgetl.finetune.detection.models.decoding import Offsets, anchors_of, cut, keep, limit_of, moved, sides_of
from edgetl.finetune.detection.models.detector import AsGiven, Detector, Target, from_one
from edgetl.finetune.detection.models.features import FeatureMaps, Pyramid, grids
from edgetl.finetune.detection.models.options import DetectorOptions
from edgetl.finetune.detection.models.proposals import Proposals
from edgetl.finetune.detection.models.retinanet import RATIOS, anchor_sides

WIDTH = 128
"""The paper on pyramids has 256 channels, at four times the cost."""

HIDDEN = 512
"""Width of the two layers that look at a region."""

REGIONS = 100
"""Rows of the answer."""

CANDIDATES = 200
"""So many regions of each map are compared."""

POOLED = 7
SAMPLES = 2
RPN_IOU = 0.7


class RegionHead(nn.Module):
    """One box for a region, whatever its label: torchvision's loss gets it once for each of `classes`."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.cls_score = nn.Linear(inputs, classes)
        self.bbox_pred = nn.Linear(inputs, 4)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(regions), self.bbox_pred(regions).repeat(1, self.classes)


class RegionDecoding(nn.Module):
    """The region head's outputs as boxes and scores; a softmax over labels and background."""

    limit: Tensor

    def __init__(self, size: tuple[int, int], weights: tuple[float, float, float, float]) -> None:
        super().__init__()
        self.weights = weights
        keep(self, limit=limit_of(size))

    def forward(self, offsets: Tensor, logits: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """`offsets` (batch, regions, 4), `logits` (batch, regions, 1 + labels), `regions` (batch, regions, 4)."""
        sides = sides_of(regions)
        boxes = moved(offsets, regions[..., :2] + sides / 2, sides, self.weights)
        return cut(boxes, self.limit), torch.softmax(logits, dim=-1)[..., 1:]


class FasterRcnn(Detector):
    """torchvision's Faster R-CNN on a registry backbone, with one box for a region instead of one for each label.

    It learns with torchvision's own, greedily suppressed proposals, and answers with `Proposals`.
    """

    def __init__(self, maps: FeatureMaps, labels: int, size: tuple[int, int], options: DetectorOptions) -> None:
        super().__init__()
        width, levels = options.width or WIDTH, len(maps.strides) + 1
        self.options = msgspec.structs.replace(options, width=width)
        self.strides = maps.strides
        anchors = AnchorGenerator(tuple((side,) for side in anchor_sides(maps, size, levels)), (RATIOS,) * levels)
        self.net = TorchvisionFasterRCNN(
            Pyramid(maps, width, LastLevelMaxPool()),
            rpn_anchor_generator=anchors,
            rpn_nms_thresh=RPN_IOU,
            rpn_pre_nms_top_n_train=1000,
            rpn_post_nms_top_n_train=500,
            box_batch_size_per_image=128,
            box_roi_pool=MultiScaleRoIAlign([str(stride) for stride in maps.strides], POOLED, SAMPLES),
            box_head=TwoMLPHead(width * POOLED**2, HIDDEN),
            box_predictor=RegionHead(HIDDEN, labels + 1),
        )
        self.net.transform = AsGiven()
        shapes = grids(maps, size, levels)
        self.proposals = Proposals(
            Offsets(anchors_of(anchors, size, shapes), size),
            [height * width * len(RATIOS) for height, width in shapes],
            candidates=CANDIDATES, count=REGIONS, iou=RPN_IOU,
        )  # fmt: skip
        self.decoding = RegionDecoding(size, self.net.roi_heads.box_coder.weights)

    @property
    def body(self) -> nn.Module:
        body: nn.Module = self.net.backbone.body
        return body

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = self.net(images, from_one(targets))
        return losses

    def decode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.net.backbone(images)
        objectness, offsets = concat_box_prediction_layers(*self.net.rpn.head(list(features.values())))
        batch, rows = images.shape[0], sum(self.proposals.rows)
        regions = self.proposals(objectness.reshape(batch, rows), offsets.reshape(batch, rows, 4))
        heads = self.net.roi_heads
        logits, boxes = heads.box_predictor(heads.box_head(self._pooled(features, regions)))
        answers: tuple[Tensor, Tensor] = self.decoding(
            boxes[:, :4].reshape(batch, -1, 4), logits.reshape(batch, -1, logits.shape[1]), regions
        )
        return answers

    def _pooled(self, features: dict[str, Tensor], regions: Tensor) -> Tensor:
        """Each region from the map its size calls for, (batch · regions, width, 7, 7), without choosing rows:
        every map pools all regions, and what belongs to another map counts nothing.
        """
        batch, count = regions.shape[:2]
        flat = regions.reshape(-1, 4)
        image = torch.arange(batch, device=regions.device).unsqueeze(1).expand(-1, count).reshape(-1, 1)
        boxes = torch.cat((image.to(flat), flat), dim=1)
        first, last = (stride.bit_length() - 1 for stride in (self.strides[0], self.strides[-1]))
        levels = LevelMapper(first, last)([flat])
        pooled = [
            roi_align(features[str(stride)], boxes, POOLED, 1 / stride, SAMPLES)
            * (levels == level).to(flat).reshape(-1, 1, 1, 1)
            for level, stride in enumerate(self.strides)
        ]
        return torch.stack(pooled).sum(dim=0)
