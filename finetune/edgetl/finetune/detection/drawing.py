"""A photo with its true and its found boxes drawn into it."""

import io
from collections.abc import Sequence
from pathlib import Path, PurePath

from PIL import ImageDraw, ImageFont

from edgetl.finetune.detection.matching import matched
from edgetl.finetune.report.page import Picture
from edgetl.run import BoxRecord
from edgetl.tasks.detections import Found
from edgetl.tasks.images import opened

SIDE = 640
"""Pixels of the longer side, so that the words can be read; twelve such photos are about a megabyte."""

HIT, MISSED, RIGHT, WRONG, IGNORED = "#1f9d3a", "#ff8c1a", "#2f7bff", "#e02020", "#9a9a9a"

Corners = tuple[float, float, float, float]


def drawn(root: Path, path: str, boxes: Sequence[BoxRecord], found: Found, labels: Sequence[str]) -> Picture:
    """Objects that were found in green, missed ones in orange; right boxes in blue and wrong ones in red, with scores.

    Raises DataError when the photo cannot be decoded.
    """
    photo = opened(root / path)
    scale = SIDE / max(photo.size)
    image = photo.resize((max(1, round(photo.width * scale)), max(1, round(photo.height * scale))))
    pen = ImageDraw.Draw(image)
    pair = matched(boxes, found)
    for box, hit in zip(boxes, pair.found, strict=True):
        colour = IGNORED if box.ignored else HIT if hit else MISSED
        corners = (box.left, box.top, box.right, box.bottom)
        _rectangle(pen, corners, scale, colour, "" if hit else labels[box.label])
    for place, score, label, right, counts in zip(
        found.boxes, found.scores, found.classes, pair.right, pair.counts, strict=True
    ):
        colour = RIGHT if right else WRONG if counts else IGNORED
        corners = (float(place[0]), float(place[1]), float(place[2]), float(place[3]))
        _rectangle(pen, corners, scale, colour, f"{labels[int(label)]} {score:.2f}")
    objects = [box for box in boxes if not box.ignored]
    missed = len(objects) - int(pair.found.sum())
    wrong = int((pair.counts & ~pair.right).sum())
    said = f"{len(objects)} objects, {missed} missed, {wrong} wrong boxes"
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    name = PurePath(path).name
    return Picture(alt=f"{name}: {said}", caption=(name, said), jpeg=stream.getvalue())


def _rectangle(pen: ImageDraw.ImageDraw, corners: Corners, scale: float, colour: str, text: str) -> None:
    left, top, right, bottom = (value * scale for value in corners)
    pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=2)
    if text:
        font = ImageFont.load_default(11)
        place = (left + 3, top + 1)
        pen.rectangle(pen.textbbox(place, text, font=font), fill=colour)
        pen.text(place, text, fill="white", font=font)
