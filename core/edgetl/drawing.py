"""Photos with what was found in them: boxes, labels and scores."""

import colorsys
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from edgetl.tasks.detections import Box

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

GOLDEN_ANGLE = 0.618
"""Successive labels lie this share of the colour circle apart, so that few are alike."""


def drawn(photo: Image.Image, objects: Sequence[Box], labels: Sequence[str]) -> Image.Image:
    """A copy of `photo` with a frame and a caption for each object, the surest on top; a colour for each label."""
    made = photo.convert("RGB")
    pen = ImageDraw.Draw(made)
    width = max(1, round(max(made.size) / 400))
    font = ImageFont.load_default(max(10, round(max(made.size) / 50)))
    colours = {label: _colour(number) for number, label in enumerate(labels)}
    for each in reversed(objects):
        left, top, right, bottom = each.box
        colour = colours[each.label]
        pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=width)
        _caption(pen, (left, top), f"{each.label} {each.score:.2f}", font, colour)
    return made


def _caption(pen: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, font: Font, colour: Colour) -> None:
    """Above the box, or in it where the photo ends."""
    left, top = corner
    _, _, width, below = pen.textbbox((0, 0), text, font=font)
    top = max(0, top - below)
    pen.rectangle((left, top, left + width, top + below), fill=colour)
    pen.text((left, top), text, font=font, fill="black")


def _colour(number: int) -> Colour:
    """Light enough for black letters."""
    red, green, blue = colorsys.hls_to_rgb((number * GOLDEN_ANGLE) % 1, 0.65, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
