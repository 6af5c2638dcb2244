"""Detectors that never saw a photo: boxes and scores as one would answer, with what a conversion does to them."""

import msgspec
import numpy as np

from edgetl.tasks import ObjectDetection
from edgetl.tasks.detections import Found, as_array
from edgetl.tasks.images import BARS, ImageInput
from edgetl.types import Array, Outputs

SIZE = (320, 256)
TASK = ObjectDetection(
    labels=("red", "white", "platelet"),
    input=ImageInput(width=SIZE[0], height=SIZE[1], resize=SIZE[0], mode="letterbox"),
)
QUERIES = msgspec.structs.replace(TASK, ordered=False, iou_threshold=None)
SHARES = (0.6, 0.25, 0.15)


class World(msgspec.Struct, frozen=True):
    """Letterboxed photos, what is in them, and what the reference answers, row by row."""

    images: Array
    truths: Array
    outputs: Outputs

    @property
    def arrays(self) -> dict[str, Array]:
        """As the golden set carries them."""
        return {"image": self.images, **self.outputs}


def world(seed: int = 0, photos: int = 24, rows: int = 60) -> World:
    """Objects in a photo between bars; of `rows` rows a few find each object, the others find nothing much."""
    rng = np.random.default_rng(seed)
    images = np.full((photos, SIZE[1], SIZE[0], 3), BARS, np.uint8)
    boxes, scores, truths = np.zeros((photos, rows, 4)), np.zeros((photos, rows, 3)), []
    for i in range(photos):
        left, top = (int(rng.integers(12, 40)), 0) if i % 2 else (0, int(rng.integers(12, 40)))
        content = images[i, top : SIZE[1] - top, left : SIZE[0] - left]
        content[:] = rng.integers(0, 100, content.shape)
        there = objects(rng, (left, top), count=int(rng.integers(3, 9)))
        truths.append(there)
        boxes[i], scores[i] = answers(rng, there, rows)
    return World(images, as_array(truths), {"boxes": boxes.astype(np.float32), "scores": scores.astype(np.float32)})


def objects(rng: np.random.Generator, bars: tuple[int, int], count: int) -> Found:
    """Objects within the photo."""
    size = rng.uniform(20, 80, (count, 2))
    room = np.array(SIZE) - 2 * np.array(bars) - size
    corner = np.array(bars) + rng.random((count, 2)) * room
    classes = rng.choice(3, count, p=SHARES)
    return Found(boxes=np.hstack([corner, corner + size]), scores=np.ones(count), classes=classes)


def answers(rng: np.random.Generator, there: Found, rows: int) -> tuple[Array, Array]:
    """Boxes and scores of all rows: each object is found by one row surely and by another less, nearly there."""
    corner, size = rng.uniform(0, 220, (rows, 2)), rng.uniform(16, 90, (rows, 2))
    boxes, scores = np.hstack([corner, corner + size]), rng.uniform(0, 0.012, (rows, 3))
    places = rng.permutation(rows)[: 2 * len(there.scores)]
    for n, place in enumerate(places):
        which = n // 2
        boxes[place] = there.boxes[which] + rng.normal(0, 1.5, 4)
        score = rng.uniform(0.6, 0.95) if n % 2 == 0 else rng.uniform(0.08, 0.25)
        scores[place, there.classes[which]] = score
    return boxes, scores


def noisy(outputs: Outputs, seed: int = 1, *, pixels: float = 1.0, logit: float = 0.15) -> Outputs:
    """As INT8 leaves them: coordinates off by about `pixels`, scores by `logit` before the sigmoid, in coarse steps."""
    rng = np.random.default_rng(seed)
    boxes = outputs["boxes"] + rng.normal(0, pixels, outputs["boxes"].shape)
    inside = np.clip(outputs["scores"].astype(float), 1e-4, 1 - 1e-4)
    raised = np.log(inside / (1 - inside)) + rng.normal(0, logit, inside.shape)
    raised = np.round(raised / 0.1) * 0.1
    return {"boxes": boxes.astype(np.float32), "scores": (1 / (1 + np.exp(-raised))).astype(np.float32)}


def shuffled(outputs: Outputs, seed: int = 2) -> Outputs:
    """The same rows in another order in each photo."""
    rng = np.random.default_rng(seed)
    order = np.stack([rng.permutation(outputs["boxes"].shape[1]) for _ in outputs["boxes"]])
    return {name: np.take_along_axis(array, order[..., None], axis=1) for name, array in outputs.items()}
