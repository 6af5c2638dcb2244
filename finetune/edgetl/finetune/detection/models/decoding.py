"""From a network's offsets to boxes: arithmetic without weights, which integer precision would spoil."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

Weights = tuple[float, float, float, float]

LARGEST = math.log(1000 / 16)
"""A box grows by a factor of 62.5 at most, as in torchvision's BoxCoder."""


class Offsets(nn.Module):
    """Offsets (batch, rows, 4) from the fixed `anchors` (rows, 4) to boxes cut at the borders of `size`.

    Ren et al., "Faster R-CNN", NIPS 2015, section 3.1.2; `weights` as in torchvision's BoxCoder.
    """

    limit: Tensor
    centres: Tensor
    sides: Tensor

    def __init__(self, anchors: Tensor, size: tuple[int, int], weights: Weights = (1.0, 1.0, 1.0, 1.0)) -> None:
        super().__init__()
        self.weights = weights
        keep(self, limit=limit_of(size), centres=(anchors[:, :2] + anchors[:, 2:]) / 2, sides=sides_of(anchors))

    def forward(self, offsets: Tensor) -> Tensor:
        return cut(moved(offsets, self.centres, self.sides, self.weights), self.limit)


class Distances(nn.Module):
    """Distances (batch, rows, 4) to left, top, right and bottom, in sides of the anchor, to boxes cut at the borders.

    Tian et al., "FCOS: A Simple and Strong Anchor-Free Object Detector", 2020.
    """

    limit: Tensor
    centres: Tensor
    sides: Tensor

    def __init__(self, anchors: Tensor, size: tuple[int, int]) -> None:
        super().__init__()
        keep(self, limit=limit_of(size), centres=(anchors[:, :2] + anchors[:, 2:]) / 2, sides=sides_of(anchors))

    def forward(self, distances: Tensor) -> Tensor:
        start = self.centres - distances[..., :2] * self.sides
        end = self.centres + distances[..., 2:] * self.sides
        return cut(torch.cat((start, end), dim=-1), self.limit)


def moved(offsets: Tensor, centres: Tensor, sides: Tensor, weights: Weights) -> Tensor:
    """Boxes (…, 4) from `offsets` (…, 4) to boxes of these centres and sides, each (…, 2)."""
    x, y, width, height = weights
    assert x == y and width == height
    centre = offsets[..., :2] * (sides / x) + centres
    half = torch.exp(torch.clamp(offsets[..., 2:] / width, max=LARGEST)) * (sides / 2)
    return torch.cat((centre - half, centre + half), dim=-1)


def cut(boxes: Tensor, limit: Tensor) -> Tensor:
    """What of the boxes lies in the input."""
    return torch.minimum(boxes.clamp(min=0), limit)


def limit_of(size: tuple[int, int]) -> Tensor:
    """The largest left, top, right, bottom in an input of (height, width)."""
    return torch.tensor([size[1], size[0], size[1], size[0]], dtype=torch.float32)


def sides_of(boxes: Tensor) -> Tensor:
    return boxes[..., 2:] - boxes[..., :2]


def keep(module: nn.Module, **constants: Tensor) -> None:
    """As buffers that do not travel with the weights: they follow from the input's size."""
    for name, value in constants.items():
        module.register_buffer(name, value, persistent=False)


def anchors_of(generator: nn.Module, size: tuple[int, int], grids: Sequence[tuple[int, int]]) -> Tensor:
    """The anchors (rows, 4) that torchvision's `generator` lays on maps of these sizes."""
    image = ImageList(torch.zeros(1, 3, *size), [size])
    found: Tensor = generator(image, [torch.zeros(1, 1, *grid) for grid in grids])[0]
    return found
