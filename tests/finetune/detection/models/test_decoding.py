"""Offsets become the boxes that torchvision's own coders say, cut at the borders."""

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder, BoxLinearCoder
from torchvision.ops import clip_boxes_to_image

from edgetl.finetune.detection.models.decoding import Distances, Offsets

SIZE = (48, 96)


def anchors(count: int) -> Tensor:
    corner = torch.rand(count, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([90.0, 40.0])
    return torch.cat((corner, corner + 5 + 20 * torch.rand(count, 2, generator=torch.Generator().manual_seed(1))), 1)


def test_offsets_decode_as_torchvisions_box_coder_does() -> None:
    """Some are so large that the coder limits the box's growth."""
    given, codes = anchors(200), torch.randn(3, 200, 4, generator=torch.Generator().manual_seed(2)) * 20
    found = Offsets(given, SIZE, (10.0, 10.0, 5.0, 5.0))(codes)
    for codes_of_one, boxes in zip(codes, found, strict=True):
        right = BoxCoder((10.0, 10.0, 5.0, 5.0)).decode_single(codes_of_one, given)
        torch.testing.assert_close(boxes, clip_boxes_to_image(right, SIZE), rtol=1e-5, atol=1e-4)


def test_distances_decode_as_torchvisions_linear_coder_does() -> None:
    given, codes = anchors(200), torch.rand(3, 200, 4, generator=torch.Generator().manual_seed(2)) * 3
    found = Distances(given, SIZE)(codes)
    for codes_of_one, boxes in zip(codes, found, strict=True):
        right = BoxLinearCoder(normalize_by_size=True).decode(codes_of_one, given)
        torch.testing.assert_close(boxes, clip_boxes_to_image(right, SIZE), rtol=1e-5, atol=1e-4)
