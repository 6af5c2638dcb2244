"""The rows of a detector that matter, beside the reference's: by how much each photo's are off under a hypothesis."""

from typing import Literal

import msgspec
import numpy as np

from edgetl.devices.detection.agreement import MATTERS
from edgetl.types import Array, Outputs

Part = Literal["boxes", "scores"]

EVERY = slice(None)

NEAREST_AMONG = 300
"""Among so many of the surest answers in a photo the nearest is sought, where rows have no order."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the reference that matter: `photo` (rows,) each lies in, `boxes` (rows, 4), `scores` (rows, labels), and
    the best of these, `weighs` (rows,). `answers`: what a variant says, (photos, rows, …); `place` (rows,): where in
    them the same row is, None where no order is the same for every engine. `size`: width and height of the input.
    """

    photos: int
    photo: Array
    boxes: Array
    scores: Array
    weighs: Array
    answers: Outputs
    place: Array | None
    size: Array

    def errors(self, boxes: Array, scores: Array, part: Part | None, columns: slice | list[int] = EVERY) -> Array:
        """Squared errors of each photo, weighted, if these `boxes` and `scores` (rows, …) were right; (photos,).

        Both count, or one `part`. Boxes are measured in sizes of the input; of the scores only `columns` count. Without
        an order each row is held against the nearest answer, and both parts count: what is near in one may be far in
        the other.
        """
        said_boxes, said_scores = self.said(boxes, scores)
        off = np.zeros(len(self.photo))
        if part != "scores" or self.place is None:
            off += _squares((said_boxes - boxes) / np.tile(self.size, 2))
        if part != "boxes" or self.place is None:
            off += _squares(said_scores[:, columns] - scores[:, columns])
        return self.of_photos(off)

    def explained(self, boxes: Array, scores: Array, part: Part, columns: slice | list[int] = EVERY) -> float:
        """How many times what the variant says in the rows is what these `boxes` and `scores` leave unexplained."""
        said_boxes, said_scores = self.said(boxes, scores)
        said, expected = (said_boxes, boxes) if part == "boxes" else (said_scores[:, columns], scores[:, columns])
        left = float(self.weighs @ _squares(said - expected))
        return float(self.weighs @ _squares(said)) / max(left, 1e-30)

    def of_photos(self, values: Array) -> Array:
        """Weighted sums of `values` (rows,) over each photo's rows."""
        return np.bincount(self.photo, values * self.weighs, self.photos)

    def said(self, boxes: Array, scores: Array) -> tuple[Array, Array]:
        """The variant's boxes and scores in the rows, found by place or as the nearest to these."""
        at = self.photo, self._nearest(boxes, scores, self.answers["scores"]) if self.place is None else self.place
        return self.answers["boxes"][at], self.answers["scores"][at]

    def said_of_any_label(self, boxes: Array) -> Array:
        """The variant's scores in the rows that should have these boxes, found by place or by box and best score."""
        best, theirs = self.weighs[:, None], self.answers["scores"].max(axis=2, keepdims=True)
        return np.asarray(
            self.answers["scores"][self.photo, self._nearest(boxes, best, theirs) if self.place is None else self.place]
        )

    def _nearest(self, boxes: Array, scores: Array, theirs: Array) -> Array:
        # boxes from 0 to 1 are told apart on their own scale
        scale = np.tile(self.size, 2) * max(float(boxes.std()), 1e-9) / max(float(self.boxes.std()), 1e-9)
        place = np.zeros(len(self.photo), np.int64)
        for photo in np.unique(self.photo):
            mine = self.photo == photo
            off = (self.answers["boxes"][photo][None] - boxes[mine][:, None]) / scale
            other = theirs[photo][None] - scores[mine][:, None]
            place[mine] = (_squares(off) + _squares(other)).argmin(axis=1)
        return place


def compared(outputs: Outputs, reference: Outputs, size: tuple[int, int], *, ordered: bool) -> Compared:
    """The rows in which the reference's best score is `MATTERS` or more."""
    weighs = reference["scores"].max(axis=2)
    photo, place = np.nonzero(weighs >= MATTERS)
    answers = {name: outputs[name].astype(np.float64) for name in ("boxes", "scores")}
    return Compared(
        photos=len(weighs),
        photo=photo,
        boxes=reference["boxes"][photo, place].astype(np.float64),
        scores=reference["scores"][photo, place].astype(np.float64),
        weighs=weighs[photo, place].astype(np.float64),
        answers=answers if ordered else _surest(answers),
        place=place if ordered else None,
        size=np.array(size, np.float64),
    )


def _surest(answers: Outputs) -> Outputs:
    """The `NEAREST_AMONG` rows of each photo whose best scores are highest."""
    order = np.argsort(-answers["scores"].max(axis=2), axis=1, kind="stable")[:, :NEAREST_AMONG]
    return {name: np.take_along_axis(array, order[..., None], axis=1) for name, array in answers.items()}


def _squares(values: Array) -> Array:
    return np.asarray(np.sum(values**2, axis=-1))
