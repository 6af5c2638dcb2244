"""How good a detector is: average precision as COCO defines it, by pycocotools.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014: the mean over IoU thresholds 0.50 to 0.95, precision
interpolated at 101 recalls, at most 100 boxes a photo.
"""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from edgetl.plugins import require
from edgetl.run import BoxRecord
from edgetl.tasks.detections import Found
from edgetl.types import Array


class ClassPrecision(msgspec.Struct, frozen=True, kw_only=True):
    """One label's scores, fractions of 1, None where it has no object. `curve`: precision at recalls 0 to 1 in 100
    steps, at IoU 0.5.
    """

    label: str
    objects: int
    ap50: float | None
    ap: float | None
    curve: tuple[float, ...] = ()


class DetectionEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What a detector scored on one split; `metrics`: map50 and map (IoU 0.50 to 0.95), fractions of 1."""

    photos: int
    objects: int
    metrics: dict[str, float]
    classes: tuple[ClassPrecision, ...]


def evaluate_boxes(
    truths: Sequence[Sequence[BoxRecord]], answers: Sequence[Found], labels: Sequence[str]
) -> DetectionEvaluation:
    """Scores `answers` against `truths`, one of each a photo, both in pixels of the photo.

    Objects to be ignored count neither as found nor as missed. A label without objects has no score and is left out of
    the means. Raises DependencyError when pycocotools is not installed.
    """
    precision = _precision(truths, answers, len(labels))
    objects = np.bincount([b.label for boxes in truths for b in boxes if not b.ignored], minlength=len(labels))
    classes = tuple(
        ClassPrecision(
            label=label,
            objects=int(objects[number]),
            ap50=float(precision[0, :, number].mean()) if objects[number] else None,
            ap=float(precision[:, :, number].mean()) if objects[number] else None,
            curve=tuple(precision[0, :, number].round(4).tolist()) if objects[number] else (),
        )
        for number, label in enumerate(labels)
    )
    return DetectionEvaluation(
        photos=len(truths),
        objects=int(objects.sum()),
        metrics={"map50": _mean([each.ap50 for each in classes]), "map": _mean([each.ap for each in classes])},
        classes=classes,
    )


def _mean(values: Sequence[float | None]) -> float:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else 0.0


def _precision(truths: Sequence[Sequence[BoxRecord]], answers: Sequence[Found], labels: int) -> Array:
    """(IoU thresholds, recalls, labels); −1 for a label without objects."""
    require("detection", "pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    said = _said(answers)
    if not said:
        return np.zeros((10, 101, labels))
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress there
        coco: Any = COCO()
        coco.dataset = _dataset(truths, labels)
        coco.createIndex()
        judge: Any = COCOeval(coco, coco.loadRes(said), "bbox")
        judge.evaluate()
        judge.accumulate()
    found: Array = judge.eval["precision"][:, :, :, 0, -1]
    return found


def _dataset(truths: Sequence[Sequence[BoxRecord]], labels: int) -> dict[str, Any]:
    annotations = [
        {
            "image_id": photo, "category_id": box.label, "iscrowd": int(box.ignored),
            "bbox": [box.left, box.top, box.right - box.left, box.bottom - box.top],
            "area": (box.right - box.left) * (box.bottom - box.top),
        }
        for photo, boxes in enumerate(truths)
        for box in boxes
    ]  # fmt: skip
    return {
        "info": {},
        "images": [{"id": photo} for photo in range(len(truths))],
        "categories": [{"id": label} for label in range(labels)],
        "annotations": [{"id": number, **each} for number, each in enumerate(annotations, start=1)],
    }


def _said(answers: Sequence[Found]) -> list[dict[str, Any]]:
    return [
        {
            "image_id": photo, "category_id": int(label), "score": float(score),
            "bbox": [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])],
        }
        for photo, found in enumerate(answers)
        for box, score, label in zip(found.boxes, found.scores, found.classes, strict=True)
    ]  # fmt: skip
