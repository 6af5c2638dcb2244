"""Photos of a simulated detector, already matched: what it finds of three labels, and what a variant of it loses."""

from typing import Literal

import msgspec
import numpy as np

from edgetl.devices.detection.drop import Pair
from edgetl.tasks.average_precision import Matches, Ranked
from edgetl.types import Array

OBJECTS = (8.0, 1.2, 0.3)
"""How many objects of each label a photo holds on average."""

POPULATION = 40_000
"""So many photos tell the true drop."""

Kind = Literal["objects", "photos", "label"]
KINDS: tuple[Kind, ...] = ("objects", "photos", "label")


class World(msgspec.Struct, frozen=True):
    """Photos, and each detection: its photo, its label, whether it is right, its score. `lots` (detections,) and
    `luck` (photos,): uniform numbers by which a variant loses some. `objects` (labels, photos).
    """

    photos: int
    photo: Array
    label: Array
    right: Array
    score: Array
    lots: Array
    luck: Array
    objects: Array


def world(rng: np.random.Generator, photos: int) -> World:
    """Photos as a detector of about 0.8 mAP50 sees them; in a hard photo it finds less, and less surely."""
    objects = np.stack([rng.poisson(rng.gamma(3, each / 3, photos)) for each in OBJECTS])
    hardness = rng.normal(0, 0.6, photos)
    photo = np.concatenate([np.repeat(np.arange(photos), counts) for counts in objects])
    label = np.repeat(np.arange(len(OBJECTS)), objects.sum(axis=1))
    found = rng.random(len(photo)) < 1 / (1 + np.exp(hardness[photo] - 2.3))
    photo, label = photo[found], label[found]
    score = rng.normal(1.5 - hardness[photo], 1.2)
    wrong = [rng.poisson(0.6 * each, photos) for each in OBJECTS]
    wrong_photo = np.concatenate([np.repeat(np.arange(photos), counts) for counts in wrong])
    wrong_label = np.repeat(np.arange(len(OBJECTS)), [counts.sum() for counts in wrong])
    return World(
        photos=photos,
        photo=np.concatenate([photo, wrong_photo]),
        label=np.concatenate([label, wrong_label]),
        right=np.arange(len(photo) + len(wrong_photo)) < len(photo),
        score=np.concatenate([score, rng.normal(-1, 1.2, len(wrong_photo))]),
        lots=rng.random(len(photo) + len(wrong_photo)),
        luck=rng.random(photos),
        objects=objects,
    )


def pair(here: World, kind: Kind, share: float, rng: np.random.Generator) -> Pair:
    """Reference and a variant that loses `share` of what its kind of fault hits."""
    lost = {
        "objects": here.lots < share,
        "photos": here.luck[here.photo] < share,
        "label": (here.label == len(OBJECTS) - 1) & (here.lots < share),
    }[kind]
    noisy = here.score + rng.normal(0, 0.15, len(here.score))
    everything = np.ones(len(here.score), bool)
    return Pair(
        reference=_matches(here, here.score, everything),
        variant=_matches(here, noisy, ~(lost & here.right)),
        units=np.arange(here.photos),
    )


def _matches(here: World, score: Array, kept: Array) -> Matches:
    labels = []
    for label, objects in enumerate(here.objects):
        mine = np.flatnonzero((here.label == label) & kept)
        mine = mine[np.argsort(-score[mine], kind="stable")]
        right = here.right[mine][None]
        labels.append(Ranked(photos=here.photo[mine], right=right, wrong=~right, objects=objects))
    return Matches(photos=here.photos, thresholds=(0.5,), labels=tuple(labels))


def true_drop(kind: Kind, share: float) -> float:
    """Of mAP50, as a fraction, in photos without number."""
    return _drop(_population(), kind, share)


def share_for(kind: Kind, drop: float) -> float:
    """How much a variant must lose for a true drop of about `drop`; precision falls in small steps."""
    many, low, high = _population(), 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if _drop(many, kind, middle) < drop else (low, middle)
    return low


def _population() -> World:
    return world(np.random.default_rng(1), POPULATION)


def _drop(here: World, kind: Kind, share: float) -> float:
    reference, value = pair(here, kind, share, np.random.default_rng(2)).values
    return reference - value
