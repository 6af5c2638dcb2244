"""Every detector learns from boxes, and decodes to what torchvision's own postprocessing makes of its outputs."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.finetune.detection.models.lively import SIZE, lively, noise
from torch import Tensor

from edgetl.errors import ConfigError
from edgetl.finetune.backbones.registry import get_backbone
from edgetl.finetune.backbones.weights import build_model
from edgetl.finetune.detection.models.architectures import ARCHITECTURES, build_detector, task_fields
from edgetl.finetune.detection.models.detector import Detector, Target, backbone_parameters
from edgetl.finetune.detection.models.faster_rcnn import CANDIDATES
from edgetl.finetune.detection.models.options import DetectorOptions
from edgetl.tasks.detections import found, overlaps

HUGGING_FACE = pytest.param("rt-detr", marks=pytest.mark.slow)
STEPS = {"ssdlite": 80, "retinanet": 120, "fcos": 160, "faster-rcnn": 160, "rt-detr": 200}
EVERY = ["ssdlite", "retinanet", "fcos", "faster-rcnn", HUGGING_FACE]


def detector(architecture: str, seed: int = 0) -> Detector:
    options = DetectorOptions(width=64)
    return build_detector(architecture, get_backbone("residual_cnn"), None, 3, SIZE, seed=seed, options=options)


def target(*boxes: tuple[float, ...], labels: tuple[int, ...] = ()) -> Target:
    return Target(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), labels=torch.tensor(labels, dtype=torch.int64)
    )


def answers(model: Detector, images: Tensor) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        return model.eval().decode(images)


@pytest.mark.parametrize("architecture", EVERY)
def test_answers_are_boxes_in_the_input_and_scores(architecture: str) -> None:
    boxes, scores = answers(detector(architecture), noise(3))
    assert boxes.shape[0] == scores.shape[0] == 3 and boxes.shape[1] == scores.shape[1]
    assert (boxes.shape[2], scores.shape[2]) == (4, 3)
    assert bool((boxes >= 0).all()) and bool((boxes <= torch.tensor([96, 64, 96, 64])).all())
    assert bool((scores >= 0).all()) and bool((scores <= 1).all())


@pytest.mark.parametrize("architecture", EVERY)
def test_photos_without_objects_are_no_trouble(architecture: str) -> None:
    model = detector(architecture)
    for targets in ([target(), target()], [target(), target((5, 5, 40, 30), labels=(2,))]):
        losses = model.loss(noise(2), targets)
        total = torch.stack(list(losses.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        assert torch.isfinite(total)
        assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["ssdlite", "retinanet", "fcos", "faster-rcnn", "rt-detr"])
def test_it_learns_to_find_a_bright_square(architecture: str) -> None:
    """The squares lie elsewhere in every picture; the last ones it has not seen."""
    rng = np.random.default_rng(0)
    images, targets = noise(40) * 0.2, []
    for image in images:
        left, top = (int(each) for each in rng.integers(0, (64, 32)))
        image[:, top : top + 28, left : left + 28] += 2
        targets.append(target((left, top, left + 28, top + 28), labels=(1,)))
    model = detector(architecture)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(STEPS[architecture]):
        rows = [(step * 4 + i) % 32 for i in range(4)]
        losses = model.loss(images[rows], [targets[row] for row in rows])
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    boxes, scores = answers(model, images[32:])
    best = [np.unravel_index(int(each.argmax()), each.shape) for each in scores]
    hits = [
        label == 1 and overlaps(own[row][None].numpy(), right["boxes"].numpy())[0, 0] > 0.5
        for (row, label), own, right in zip(best, boxes, targets[32:], strict=True)
    ]
    assert sum(hits) >= 6, hits


@pytest.mark.parametrize(("architecture", "first"), [("ssdlite", 1), ("retinanet", 0), ("fcos", 0)])
def test_decoding_and_our_postprocessing_find_what_torchvisions_own_does(architecture: str, first: int) -> None:
    """The same thresholds; torchvision's SSD counts its labels from 1."""
    model = lively(architecture)
    net: Any = model.net
    boxes, scores = answers(model, noise(2))
    threshold = float(scores.flatten().sort(descending=True).values[300])
    net.score_thresh, net.nms_thresh, net.detections_per_img, net.topk_candidates = threshold, 0.4, 100, 1000
    with torch.inference_mode():
        same(boxes, scores, net(noise(2)), threshold, first)


def test_faster_rcnn_finds_what_torchvisions_own_does_where_no_region_is_suppressed() -> None:
    """The two suppress regions differently; with suppression off the answers must be the same."""
    model = lively("faster-rcnn")
    net: Any = model.net
    proposals: Any = model.proposals
    net.rpn.nms_thresh = proposals.iou = 1.0
    net.rpn._pre_nms_top_n["testing"], net.rpn._post_nms_top_n["testing"] = CANDIDATES, proposals.count
    net.rpn.min_size = 0.0
    boxes, scores = answers(model, noise(2))
    threshold = float(scores.flatten().sort(descending=True).values[100])
    net.roi_heads.score_thresh, net.roi_heads.nms_thresh, net.roi_heads.detections_per_img = threshold, 0.4, 100
    with torch.inference_mode():
        same(boxes, scores, net(noise(2)), threshold, 1, thinnest=0.01)


def same(
    boxes: Tensor,
    scores: Tensor,
    right: list[dict[str, Tensor]],
    threshold: float,
    first: int,
    thinnest: float = 0.0,
) -> None:
    """`right` are torchvision's objects, whose labels count from `first`.

    It leaves out scores equal to `threshold`, and boxes thinner than `thinnest` pixels.
    """
    for own_boxes, own_scores, wanted in zip(boxes, scores, right, strict=True):
        thick = (own_boxes[:, 2:] - own_boxes[:, :2]).amin(dim=1) >= thinnest
        own_boxes, own_scores = own_boxes[thick], own_scores[thick]
        above = float(np.nextafter(np.float32(threshold), np.float32(1)))
        ours = found(own_boxes.numpy(), own_scores.numpy(), threshold=above, iou=0.4, most=100)
        assert len(ours.boxes) == len(wanted["boxes"]) > 5
        np.testing.assert_allclose(ours.scores, wanted["scores"].numpy(), atol=1e-5)
        np.testing.assert_allclose(ours.boxes, wanted["boxes"].numpy(), atol=1e-3)
        assert ours.classes.tolist() == (wanted["labels"] - first).tolist()


def test_only_the_backbone_carries_its_weights() -> None:
    backbone = get_backbone("residual_cnn")
    trained, _ = build_model(backbone, None, 5, seed=7)
    model = build_detector("ssdlite", backbone, dict(trained.state_dict()), 3, SIZE, seed=0)
    own = backbone_parameters(model)
    assert torch.equal(model.body.state_dict()["stem.0.weight"], trained.state_dict()["stem.0.weight"])
    assert len(own) == len(list(trained.parameters())) - 2  # all but the head's
    assert len(own) < len(list(model.parameters()))


def test_the_same_seed_gives_the_same_detector() -> None:
    first, again, other = (detector("ssdlite", seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_a_misspelt_detector_is_refused_with_the_closest() -> None:
    with pytest.raises(ConfigError, match="unknown detector `ssd-lite`") as caught:
        task_fields("ssd-lite")
    assert "ssdlite" in str(caught.value.hint)


def test_only_a_set_of_objects_needs_no_suppression() -> None:
    assert {name for name in ARCHITECTURES if task_fields(name).iou_threshold is None} == {"rt-detr"}
    assert {name for name in ARCHITECTURES if not task_fields(name).ordered} == {"rt-detr", "faster-rcnn"}
