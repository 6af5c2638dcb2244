"""What a detector finds in golden photos: torch's boxes beside those of the variant that is furthest from them."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from edgetl.bundle import Bundle
from edgetl.devices.judging import judging_of
from edgetl.drawing import drawn
from edgetl.export.report.judged import Judged
from edgetl.finetune.report.page import Picture, Section
from edgetl.tasks import ObjectDetection
from edgetl.tasks.detections import Found, detections
from edgetl.types import Array, Outputs

PHOTOS = 6
GAP = 8
"""Pixels between torch's picture and the variant's."""


def photos_section(bundle: Bundle, judged: Sequence[Judged]) -> Section | None:
    """None for a bundle without golden photos, or whose variants left no answers to them."""
    task = bundle.manifest.task
    if not isinstance(task, ObjectDetection) or bundle.manifest.golden.kind == "none":
        return None
    answers = {each.id: own for each in judged if (own := bundle.own_answers(each.record)) is not None}
    if not answers:
        return None
    golden, judging = bundle.golden(), judging_of(task)
    agreement = {name: judging.distance(own, golden, task).agreement for name, own in answers.items()}
    worst = min(agreement, key=lambda name: agreement[name])
    right, found = (_seen(task, outputs) for outputs in (golden, answers[worst]))
    chosen = _most_different(right, found)[:PHOTOS]
    return Section(
        title="What is found",
        text=f"Golden photos as the model sees them, those that differ most first: left torch, right {worst}, which of "
        f"all variants agrees least ({agreement[worst]:.1%} of boxes). Shown is what scores {task.score_threshold:g}.",
        pictures=[_picture(golden["image"][i], right[i], found[i], worst, task) for i in chosen],
        wide=True,
    )


def _seen(task: ObjectDetection, outputs: Outputs) -> list[Found]:
    return task.found({name: outputs[name] for name in task.compared}, threshold=task.score_threshold)


def _most_different(right: Sequence[Found], found: Sequence[Found]) -> list[int]:
    """By the number of objects, then by what they score."""

    def difference(i: int) -> tuple[int, float]:
        one, other = right[i].scores, found[i].scores
        return abs(len(one) - len(other)), abs(float(np.sum(one)) - float(np.sum(other)))

    return sorted(range(len(right)), key=difference, reverse=True)


def _picture(pixels: Array, right: Found, found: Found, name: str, task: ObjectDetection) -> Picture:
    photo = Image.fromarray(pixels)
    sides = [drawn(photo, detections(each, task.labels).objects, task.labels) for each in (right, found)]
    whole = Image.new("RGB", (2 * photo.width + GAP, photo.height), "white")
    whole.paste(sides[0], (0, 0))
    whole.paste(sides[1], (photo.width + GAP, 0))
    stream = io.BytesIO()
    whole.save(stream, "JPEG", quality=80)
    said = f"torch {len(right.scores)} objects, {name} {len(found.scores)}"
    return Picture(alt=said, caption=(said,), jpeg=stream.getvalue())
