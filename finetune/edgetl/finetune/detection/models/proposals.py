"""A fixed number of regions of interest, by tensor operations whose shapes do not depend on the picture."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgetl.finetune.detection.models.decoding import Offsets, keep


class Proposals(nn.Module):
    """From the region proposal network's outputs to `count` boxes an image, (batch, count, 4).

    Of each of the levels, which have `rows` anchors, the `candidates` likeliest go on. One that overlaps a likelier one
    of its level by more than `iou` goes behind all others: "Fast NMS", Bolya et al., "YOLACT", ICCV 2019, which unlike
    the greedy form also lets a suppressed box suppress.
    """

    rivals: Tensor

    def __init__(self, boxes: Offsets, rows: Sequence[int], *, candidates: int, count: int, iou: float) -> None:
        super().__init__()
        self.boxes, self.rows, self.iou = boxes, list(rows), iou
        self.taken = [min(candidates, each) for each in rows]
        self.count = min(count, sum(self.taken))
        level = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(self.taken))
        order = torch.arange(len(level))
        rivals = (level[:, None] == level[None]) & (order[:, None] > order[None])
        keep(self, rivals=rivals)

    def forward(self, objectness: Tensor, offsets: Tensor) -> Tensor:
        """`objectness` (batch, anchors) as logits, `offsets` (batch, anchors, 4)."""
        scores, boxes = self._candidates(objectness, self.boxes(offsets))
        overlap = overlaps(boxes) * self.rivals
        last = scores.amin(dim=1, keepdim=True) - scores.amax(dim=1, keepdim=True) - 1.0
        ranked = torch.where(overlap.amax(dim=2) > self.iou, scores + last, scores)
        return taken(boxes, torch.topk(ranked, self.count, dim=1).indices)

    def _candidates(self, objectness: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest of each level, likeliest first."""
        levels = zip(
            torch.split(objectness, self.rows, dim=1), torch.split(boxes, self.rows, dim=1), self.taken, strict=True
        )
        best = [(torch.topk(scores, count, dim=1), inside) for scores, inside, count in levels]
        return (
            torch.cat([top.values for top, _ in best], dim=1),
            torch.cat([taken(inside, top.indices) for top, inside in best], dim=1),
        )


def taken(boxes: Tensor, rows: Tensor) -> Tensor:
    """The `rows` (batch, n) of `boxes` (batch, m, 4)."""
    return boxes.gather(1, rows.unsqueeze(-1).expand(-1, -1, 4))


def overlaps(boxes: Tensor) -> Tensor:
    """Intersection over union of every pair of an image's boxes, (batch, n, 4) → (batch, n, n); 0 for empty boxes."""
    start = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    end = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    gaps = (end - start).clamp(min=0)
    shared = gaps[..., 0] * gaps[..., 1]
    sides = boxes[..., 2:] - boxes[..., :2]
    area = sides[..., 0] * sides[..., 1]
    return shared / (area[:, :, None] + area[:, None, :] - shared).clamp(min=1e-6)
