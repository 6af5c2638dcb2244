"""Average precision is COCO's: equal to pycocotools', in any photos, and in any multiset of them."""

import contextlib
import io
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgetl.tasks.average_precision import Matches, match, mean_precision, summary
from edgetl.tasks.detections import Found
from edgetl.types import Array

LABELS = 3


def photo(rng: np.random.Generator, *, most: int = 6, coarse: bool = True) -> tuple[Found, Found]:
    """What is there and what was found; coarse scores tie, and whole pixels meet the limits exactly."""
    there = int(rng.integers(0, most))
    corner, size = rng.integers(0, 40, (there, 2)), rng.integers(4, 24, (there, 2))
    boxes, classes = np.hstack([corner, corner + size]).astype(float), rng.integers(0, LABELS, there)
    truth = Found(boxes=boxes, classes=classes, scores=(rng.random(there) > 0.25).astype(float))
    near = rng.integers(0, there, int(rng.integers(0, 2 * most))) if there else np.zeros(0, int)
    moved = boxes[near] + rng.integers(-4, 5, (len(near), 4))
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
    labels = np.where(rng.random(len(near)) < 0.8, classes[near], rng.integers(0, LABELS, len(near)))
    scores = rng.integers(1, 9, len(near)) / 8 if coarse else rng.random(len(near))
    return truth, Found(boxes=moved, classes=labels, scores=scores)


def cocos_precision(photos: Sequence[tuple[Found, Found]]) -> Array:
    """What pycocotools says, (thresholds, labels): −1 for a label without objects."""
    images = [{"id": i} for i in range(len(photos))]
    objects = [
        {
            "id": 1 + sum(len(truth.boxes) for truth, _ in photos[:i]) + j,
            "image_id": i,
            "category_id": int(label),
            "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
            "area": float(np.prod(box[2:] - box[:2])),
            "iscrowd": int(score == 0),
        }
        for i, (truth, _) in enumerate(photos)
        for j, (box, label, score) in enumerate(zip(truth.boxes, truth.classes, truth.scores, strict=True))
    ]
    answers = [
        {"image_id": i, "category_id": int(label), "score": float(score),
         "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]}
        for i, (_, found) in enumerate(photos)
        for box, label, score in zip(found.boxes, found.classes, found.scores, strict=True)
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": images,
            "annotations": objects,
            "categories": [{"id": i} for i in range(LABELS)],
        }
        truth.createIndex()
        found = truth.loadRes(answers) if answers else COCO()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.catIds = list(range(LABELS))
        evaluation.params.imgIds = list(range(len(photos)))
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"][:, :, :, 0, 2].mean(axis=1))


def matched(photos: Sequence[tuple[Found, Found]]) -> Matches:
    return match([found for _, found in photos], [truth for truth, _ in photos], LABELS)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), photos=st.integers(1, 8), coarse=st.booleans())
def test_equal_to_pycocotools(seed: int, photos: int, coarse: bool) -> None:
    rng = np.random.default_rng(seed)
    drawn = [photo(rng, coarse=coarse) for _ in range(photos)]
    expected = cocos_precision(drawn)
    np.testing.assert_allclose(np.nan_to_num(matched(drawn).precisions()[0], nan=-1), expected, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_weighted_photos_are_photos_that_occur_as_often(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = [photo(rng, coarse=False) for _ in range(5)]
    weights = rng.integers(0, 4, (3, 5))
    found = matched(drawn).precisions(weights)
    for row, counts in zip(found, weights, strict=True):
        repeated = [each for each, count in zip(drawn, counts, strict=True) for _ in range(count)]
        if repeated:
            np.testing.assert_allclose(np.nan_to_num(row, nan=-1), cocos_precision(repeated), atol=1e-9)


def test_only_the_hundred_surest_of_a_label_count() -> None:
    boxes = np.array([[i, 0, i + 0.5, 1] for i in range(101)], float)
    truth = Found(boxes=boxes, classes=np.zeros(101, int), scores=np.ones(101))
    found = Found(boxes=boxes, classes=np.zeros(101, int), scores=np.linspace(1, 0.5, 101))
    drawn = [(truth, found)]
    np.testing.assert_allclose(matched(drawn).precisions()[0, :, 0], cocos_precision(drawn)[:, 0], atol=1e-9)


def test_the_summary_names_every_label_that_has_objects() -> None:
    truth = Found(boxes=np.array([[0, 0, 10, 10], [20, 0, 30, 10]], float), classes=np.array([0, 2]), scores=np.ones(2))
    found = Found(boxes=np.array([[0, 0, 10, 8]], float), classes=np.array([0]), scores=np.array([0.9]))
    said = summary(match([found], [truth], LABELS), ("amber", "moss", "slate"))
    # the one box overlaps by 0.8, which is enough for 7 of the 10 limits
    assert said == pytest.approx({"map50": 0.5, "map": 0.35, "ap50 amber": 1, "ap50 slate": 0})


def test_without_any_object_there_is_no_precision_but_a_number() -> None:
    nothing = Found(boxes=np.zeros((0, 4)), classes=np.zeros(0, int), scores=np.zeros(0))
    found = Found(boxes=np.array([[0, 0, 10, 8]], float), classes=np.array([0]), scores=np.array([0.9]))
    for photos in ([], [nothing]):
        matches = match([found] * len(photos), photos, LABELS)
        assert np.isnan(matches.precisions()).all() and mean_precision(matches.precisions()) == 0


def test_one_label_or_one_limit_alone_are_parts_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    matches = matched([photo(rng) for _ in range(20)])
    whole, weights = matches.precisions(), np.ones((1, 20))
    assert np.array_equal(matches.at(0.5).precisions(weights)[0, 0], whole[0, 0], equal_nan=True)
    assert np.array_equal(matches.only(1).precisions()[0, :, 0], whole[0, :, 1], equal_nan=True)


def test_many_draws_are_summed_in_blocks_and_give_the_same() -> None:
    rng = np.random.default_rng(0)
    matches = matched([photo(rng, most=30) for _ in range(40)]).at(0.5)
    weights = rng.integers(0, 4, (15_000, 40))
    found = matches.precisions(weights)
    np.testing.assert_array_equal(found[[0, 12_345, -1]], matches.precisions(weights[[0, 12_345, -1]]))
