"""Faults of boxes and scores are named when they explain the answers, and never otherwise."""

from collections.abc import Callable, Mapping

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.devices.detection.detectors import QUERIES, SIZE, TASK, World, noisy, shuffled, world

from edgetl.devices.detection.causes import cause_of
from edgetl.devices.detection.places import bars
from edgetl.tasks import ObjectDetection
from edgetl.types import Array, Outputs

WORLD = world()
OTHER = world(7)
BARS_OF = np.tile(bars(WORLD.images), 2)[:, None]
WHOLE = np.tile(np.array(SIZE, float), 2)


def with_boxes(fault: Callable[[Array], Array]) -> Outputs:
    off = noisy(WORLD.outputs)
    return {**off, "boxes": fault(off["boxes"]).astype(np.float32)}


def with_scores(fault: Callable[[Array], Array]) -> Outputs:
    off = noisy(WORLD.outputs)
    return {**off, "scores": fault(off["scores"].astype(float)).astype(np.float32)}


def xywh(boxes: Array) -> Array:
    return np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)


def centred(boxes: Array) -> Array:
    return np.concatenate([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], axis=-1)


BOXES: Mapping[str, tuple[Callable[[Array], Array], str]] = {
    "xywh": (xywh, "boxes are left, top, width, height instead of left, top, right, bottom"),
    "cxcywh": (centred, "boxes are centre, width, height instead of left, top, right, bottom"),
    "yxyx": (lambda boxes: boxes[..., [1, 0, 3, 2]], "boxes are top, left, bottom, right"),
    "0–1": (lambda boxes: boxes / WHOLE, "boxes are 0–1 instead of pixels"),
    "0–1 cxcywh": (lambda boxes: centred(boxes) / WHOLE, "boxes are centre, width, height instead of left, top, right, "
                   "bottom and 0–1 instead of pixels"),
    "no bars": (lambda boxes: boxes - BARS_OF, "the letterbox's offset is missing"),
    "half the bars": (lambda boxes: boxes - BARS_OF / 2, "half of the letterbox's offset is missing"),
    "bars twice": (lambda boxes: boxes + BARS_OF, "the letterbox's offset is added twice"),
    "stretched": (lambda boxes: (boxes - BARS_OF) * WHOLE / (WHOLE - 2 * BARS_OF), "as if the photo filled the input"),
    "moved": (lambda boxes: boxes + np.array([14, 0, 14, 0]), "boxes are moved by +1"),
    "scaled": (lambda boxes: 0.7 * boxes, "boxes are scaled by 0.69"),
}  # fmt: skip

SCORES: Mapping[str, tuple[Callable[[Array], Array], str]] = {
    "logits": (lambda scores: np.log(scores / (1 - scores)), "scores are logits"),
    "sigmoid twice": (lambda scores: 1 / (1 + np.exp(-scores)), "scores went through the sigmoid twice"),
    "shifted up": (lambda scores: np.concatenate([scores[..., :1] * 0, scores[..., :-1]], axis=-1),
                   "labels are shifted up by one: what is `red` is called `white`"),
    "shifted down": (lambda scores: np.concatenate([scores[..., 1:], scores[..., :1] * 0], axis=-1),
                     "labels are shifted down by one: what is `white` is called `red`"),
    "rotated": (lambda scores: np.roll(scores, 1, axis=-1), "labels are shifted up by one"),
    "exchanged": (lambda scores: scores[..., [1, 0, 2]], "labels exchanged: `red` carries `white`"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOXES)
def test_what_is_wrong_with_boxes_is_named(name: str) -> None:
    fault, said = BOXES[name]
    assert said in str(cause_of(with_boxes(fault), WORLD.arrays, TASK))


@pytest.mark.parametrize("name", BOXES)
def test_what_is_wrong_with_the_boxes_of_queries_is_named(name: str) -> None:
    fault, said = BOXES[name]
    assert said in str(cause_of(shuffled(with_boxes(fault)), WORLD.arrays, QUERIES))


@pytest.mark.parametrize("name", SCORES)
def test_what_is_wrong_with_scores_is_named(name: str) -> None:
    fault, said = SCORES[name]
    assert said in str(cause_of(with_scores(fault), WORLD.arrays, TASK))


@pytest.mark.parametrize("name", SCORES)
def test_what_is_wrong_with_the_scores_of_queries_is_named(name: str) -> None:
    fault, said = SCORES[name]
    assert said in str(cause_of(shuffled(with_scores(fault)), WORLD.arrays, QUERIES))


def test_two_faults_at_once_are_both_named() -> None:
    off = {**with_boxes(xywh), "scores": SCORES["shifted up"][0](noisy(WORLD.outputs)["scores"])}
    said = str(cause_of(off, WORLD.arrays, TASK))
    assert "left, top, width, height" in said and "labels are shifted up" in said


def recorded(world_: World, fault: str = "red and blue swapped") -> dict[str, Array]:
    """As the golden set carries torch's answers under a fault of the input, for some photos."""
    other = noisy(world_.outputs, 11, pixels=6, logit=1.2)
    return {**world_.arrays, f"boxes under {fault}": other["boxes"][:16], f"scores under {fault}": other["scores"][:16]}


@pytest.mark.parametrize("task", [TASK, QUERIES], ids=["ordered", "queries"])
def test_a_fault_of_the_input_is_named_by_recorded_answers(task: ObjectDetection) -> None:
    arrays = recorded(WORLD)
    answers = {name: np.concatenate([arrays[f"{name} under red and blue swapped"], WORLD.outputs[name][16:]])
               for name in ("boxes", "scores")}  # fmt: skip
    off = noisy(answers, 5)
    off = off if task.ordered else shuffled(off)
    assert cause_of(off, arrays, task) == "red and blue swapped"


@pytest.mark.parametrize("task", [TASK, QUERIES], ids=["ordered", "queries"])
def test_a_dead_detector_has_no_cause(task: ObjectDetection) -> None:
    arrays = recorded(WORLD)
    arrays["scores under red and blue swapped"] = np.zeros_like(arrays["scores under red and blue swapped"])
    dead = {"boxes": np.zeros_like(WORLD.outputs["boxes"]), "scores": np.zeros_like(WORLD.outputs["scores"])}
    assert cause_of(dead, arrays, task) is None
    assert cause_of({**dead, "boxes": WORLD.outputs["boxes"]}, arrays, task) is None


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    pixels=st.floats(0, 6),
    logit=st.floats(0, 0.8),
    ordered=st.booleans(),
    letterbox=st.booleans(),
)
def test_a_right_detector_is_never_accused(
    seed: int, pixels: float, logit: float, ordered: bool, letterbox: bool
) -> None:
    here = world(seed, photos=12, rows=40)
    task = TASK if ordered else QUERIES
    if not letterbox:
        task = msgspec.structs.replace(task, input=msgspec.structs.replace(task.input, mode="squash"))
    off = noisy(here.outputs, seed % 97, pixels=pixels, logit=logit)
    assert cause_of(off if ordered else shuffled(off), recorded(here), task) is None


def test_a_shift_by_rounding_is_no_fault() -> None:
    """Half a pixel, always the same way, fits better than none, and matters to nobody."""
    off = {**WORLD.outputs, "boxes": WORLD.outputs["boxes"] + 0.5}
    assert cause_of(off, WORLD.arrays, TASK) is None


def test_repeated_boxes_are_named() -> None:
    off = noisy(WORLD.outputs)
    twice = {name: np.concatenate([array, array], axis=1) for name, array in off.items()}
    arrays = {**WORLD.arrays, "boxes": np.concatenate([WORLD.outputs["boxes"]] * 2, axis=1),
              "scores": np.concatenate([WORLD.outputs["scores"], 0 * WORLD.outputs["scores"]], axis=1)}  # fmt: skip
    assert cause_of(twice, arrays, QUERIES) == "objects are found several times: repeated boxes are not suppressed"
    # edgetl itself suppresses what such a model repeats
    assert cause_of(twice, arrays, msgspec.structs.replace(QUERIES, iou_threshold=0.5)) is None


def test_the_fault_of_other_photos_is_none() -> None:
    """What fits no hypothesis has no cause: a detector that answers for other photos."""
    assert cause_of(OTHER.outputs, WORLD.arrays, TASK) is None
    assert cause_of(OTHER.outputs, WORLD.arrays, QUERIES) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_not_finite_have_no_cause(value: float) -> None:
    off = {name: np.full_like(array, value) for name, array in WORLD.outputs.items()}
    assert cause_of(off, WORLD.arrays, TASK) is None


def test_bars_are_measured_in_the_photo() -> None:
    images = np.full((2, 40, 60, 3), 114, np.uint8)
    images[0, :, 7:53] = 3
    images[1, 5:35] = 3
    assert bars(images).tolist() == [[7, 0], [0, 5]]
