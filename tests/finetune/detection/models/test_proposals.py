"""Regions of interest: a fixed number of them, and no two that show the same."""

import torch
from torch import Tensor
from torchvision.ops import box_iou, nms

from edgetl.finetune.detection.models.decoding import Offsets
from edgetl.finetune.detection.models.proposals import Proposals, overlaps

ROWS = (60, 30)


def boxes(count: int, seed: int) -> Tensor:
    corner = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) * 80
    return torch.cat((corner, corner + 5 + 30 * torch.rand(count, 2, generator=torch.Generator().manual_seed(9))), 1)


def proposed(count: int, candidates: int = 100, iou: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    """The anchors as they are (no offsets), their objectness, and what is proposed for two images."""
    given = boxes(sum(ROWS), 0)
    objectness = torch.randn(2, sum(ROWS), generator=torch.Generator().manual_seed(3))
    module = Proposals(Offsets(given, (200, 200)), ROWS, candidates=candidates, count=count, iou=iou)
    return given, objectness, module(objectness, torch.zeros(2, sum(ROWS), 4))


def test_overlaps_are_those_of_torchvision() -> None:
    given = boxes(20, 4)
    torch.testing.assert_close(overlaps(given[None])[0], box_iou(given, given))


def test_what_comes_first_survives_greedy_suppression_too() -> None:
    """Fast NMS keeps only what the greedy form keeps on every level, likeliest first."""
    given, objectness, found = proposed(sum(ROWS))
    for scores, regions in zip(objectness, found, strict=True):
        greedy = torch.cat([nms(given[part], scores[part], 0.5) + part.start for part in (slice(0, 60), slice(60, 90))])
        matched = box_iou(regions, given).argmax(1)
        survivors = []
        for row in matched:  # until the first that overlaps a likelier one of its level
            part = slice(0, 60) if row < 60 else slice(60, 90)
            level = torch.arange(90)[part]
            rivals = level[(scores[level] > scores[row]) & (box_iou(given[level], given[row][None])[:, 0] > 0.5)]
            if len(rivals):
                break
            survivors.append(int(row))
        assert len(survivors) > 10
        assert set(survivors) <= set(greedy.tolist())
        assert torch.equal(scores[survivors], scores[survivors].sort(descending=True).values)


def test_there_are_always_as_many_even_when_few_survive() -> None:
    _, _, found = proposed(40, iou=0.01)
    assert found.shape == (2, 40, 4)
    _, _, all_there_are = proposed(500, candidates=20)
    assert all_there_are.shape == (2, 40, 4)
