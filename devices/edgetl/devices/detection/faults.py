"""What a detector would answer with a known fault in how its boxes or scores are written down.

All are functions of the right answers; boxes are left, top, right, bottom in pixels of an input of `size` (width,
height).
"""

from collections.abc import Callable

import numpy as np

from edgetl.types import Array

BoxFault = Callable[[Array, Array], Array]
"""Of boxes (…, 4) and the size (2,): the boxes that a graph with the fault says."""

ScoreFault = Callable[[Array], Array]


def _corner_and_size(boxes: Array, size: Array) -> Array:
    return np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)


def _centre_and_size(boxes: Array, size: Array) -> Array:
    return np.concatenate([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], axis=-1)


def _exchanged(boxes: Array, size: Array) -> Array:
    return boxes[..., [1, 0, 3, 2]]


def _right(boxes: Array, size: Array) -> Array:
    return boxes


FORMATS: dict[str, BoxFault] = {
    "": _right,
    "left, top, width, height instead of left, top, right, bottom": _corner_and_size,
    "centre, width, height instead of left, top, right, bottom": _centre_and_size,
    "top, left, bottom, right instead of left, top, right, bottom": _exchanged,
}

UNITS: dict[str, Callable[[Array, Array], Array]] = {
    "": lambda boxes, size: boxes,
    "0–1 instead of pixels": lambda boxes, size: boxes / np.tile(size, 2),
    "pixels times the input's size": lambda boxes, size: boxes * np.tile(size, 2),
}


def box_faults() -> dict[str, BoxFault]:
    """Each wrong format in each unit, by what is said of it."""
    return {
        f"boxes are {' and '.join(each for each in (form, unit) if each)}": _both(FORMATS[form], UNITS[unit])
        for form in FORMATS
        for unit in UNITS
        if form or unit
    }


def _both(form: BoxFault, unit: BoxFault) -> BoxFault:
    return lambda boxes, size: unit(form(boxes, size), size)


def sigmoid(scores: Array) -> Array:
    """1 / (1 + exp(−scores)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(scores / 2)))


def logits(scores: Array) -> Array:
    """What `sigmoid` makes `scores` of; 0 and 1 as what is next to them in float32 arithmetic."""
    inside = np.clip(scores, 1e-7, 1 - 1e-7)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


SCORE_FAULTS: dict[str, ScoreFault] = {
    "scores are logits: the sigmoid is missing": logits,
    "scores went through the sigmoid twice": sigmoid,
    "scores went through a softmax after the sigmoid": _softmax,
}
