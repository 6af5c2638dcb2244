"""Boxes as a model may learn from and be judged by: inside their photo, of a known class, each once."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from PIL import ExifTags, Image

from edgetl.errors import DataError, suggest
from edgetl.run import BoxRecord
from edgetl.tasks.boxed.photos import BoxedPhoto, Listed, ListedPhoto
from edgetl.tasks.images import BROKEN, FORMATS
from edgetl.tasks.loading import in_order

CLIPPED_PIXELS, CLIPPED_PART = 2.0, 0.01
"""A box may reach so many pixels, or so much of the photo's side, beyond the photo: rounding. It is cut there."""

Corners = tuple[float, float, float, float]

SHOWN = 10
TURNED = (5, 6, 7, 8)
"""Values of EXIF's orientation with which the upright photo has width and height exchanged."""


class Findings(msgspec.Struct, kw_only=True):
    """What was met on the way. `bad`: boxes that cannot be used, each with its reason."""

    bad: list[str] = []
    clipped: int = 0
    twice: int = 0

    def notes(self) -> Iterator[str]:
        if self.clipped:
            yield f"{_boxes(self.clipped)} a little beyond the photo and cut at its border"
        if self.twice:
            yield f"{_boxes(self.twice)} listed twice and counted once"
        if self.bad:
            yield f"{_boxes(len(self.bad))} left out: " + "; ".join(self.bad[:SHOWN])


def _boxes(count: int) -> str:
    return "1 box is" if count == 1 else f"{count} boxes are"


def checked(
    root: Path, listed: Sequence[ListedPhoto], labels: tuple[str, ...], findings: Findings
) -> Iterator[BoxedPhoto]:
    """The photos with what can be used of their boxes; the rest is told to `findings`.

    Raises DataError for a photo that is missing, listed twice or of another size than its annotation says, and for a
    class that is none of `labels`.
    """
    _once(listed)
    position = {name: number for number, name in enumerate(labels)}
    sizes = in_order(lambda photo: upright_size(photo.path, photo.where), listed)
    for photo, size in zip(listed, sizes, strict=True):
        path = _relative(photo.path, root)
        if size is None:  # the decoder will say why, or it is left out
            yield BoxedPhoto(path=path, size=photo.size or (1, 1), boxes=(), split=photo.split)
            continue
        if photo.size not in (None, size):
            raise DataError(
                f"{photo.where}: `{photo.path}` has {size[0]} × {size[1]} pixels upright, not "
                f"{photo.size[0]} × {photo.size[1]}",
                hint="annotate the photo as it is shown, or make its EXIF orientation upright",
            )
        boxes = tuple(_usable(photo.objects, size, position, findings))
        yield BoxedPhoto(path=path, size=size, boxes=boxes, split=photo.split)


def upright_size(path: Path, where: str) -> tuple[int, int] | None:
    """Width and height of a photo as it is decoded, from its header; None for one that cannot be decoded.

    Raises DataError for a photo that is not there.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            turned = Image.Image.getexif(image).get(ExifTags.Base.Orientation) in TURNED  # PNG's own would decode it
            return (image.height, image.width) if turned else image.size
    except FileNotFoundError as error:
        raise DataError(f"{where}: the photo `{path}` does not exist", hint="add it, or remove its entry") from error
    except (*BROKEN, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def refuse(findings: Findings) -> None:
    """Raises DataError that lists the boxes which cannot be used, if there are any."""
    if findings.bad:
        more = f"\nand {len(findings.bad) - SHOWN} more" if len(findings.bad) > SHOWN else ""
        raise DataError(
            f"{len(findings.bad)} box{'es' if len(findings.bad) > 1 else ''} cannot be used:\n"
            + "\n".join(findings.bad[:SHOWN])
            + more,
            hint="`--skip-bad-boxes` leaves such boxes out and says so",
        )


def _once(listed: Iterable[ListedPhoto]) -> None:
    seen: dict[Path, ListedPhoto] = {}
    for photo in listed:
        first = seen.setdefault(photo.path, photo)
        if first is not photo:
            raise DataError(f"`{photo.path}` is listed twice", hint=f"by {first.where} and {photo.where}")


def _relative(path: Path, root: Path) -> str:
    """Without following links, which may lead out of the folder; `..` may not."""
    whole, folder = Path(os.path.normpath(path)), Path(os.path.normpath(root))
    if not whole.is_relative_to(folder):
        raise DataError(f"the photo `{path}` lies outside `{root}`", hint="name the folder that holds both")
    return whole.relative_to(folder).as_posix()


def _usable(
    objects: Iterable[Listed], size: tuple[int, int], position: dict[str, int], findings: Findings
) -> Iterator[BoxRecord]:
    seen: set[BoxRecord] = set()
    for each in objects:
        if each.name not in position:
            raise DataError(f"{each.where} has the class `{each.name}`", hint=suggest(each.name, position))
        corners = _corners(each, size)
        inside = _cut(corners, size)
        if reason := _problem(corners, inside, size):
            findings.bad.append(f"{each.where}: {_shown(corners)} {reason}")
            continue
        findings.clipped += inside != corners
        record = _record(position[each.name], inside, each.ignored)
        findings.twice += record in seen
        if record not in seen:
            seen.add(record)
            yield record


def _corners(each: Listed, size: tuple[int, int]) -> Corners:
    left, top, right, bottom = each.box
    width, height = size if each.relative else (1, 1)
    return left * width, top * height, right * width, bottom * height


def _cut(corners: Corners, size: tuple[int, int]) -> Corners:
    left, top, right, bottom = corners
    return max(0.0, left), max(0.0, top), min(float(size[0]), right), min(float(size[1]), bottom)


def _problem(corners: Corners, inside: Corners, size: tuple[int, int]) -> str:
    """Why nobody can learn from a box, or nothing; NaN compares as false."""
    left, top, right, bottom = corners
    if not (left < right and top < bottom):
        return "is inside out or empty"
    beyond = [abs(a - b) for a, b in zip(corners, inside, strict=True)]
    if any(far > max(CLIPPED_PIXELS, CLIPPED_PART * side) for far, side in zip(beyond, (*size, *size), strict=True)):
        return f"is outside the photo of {size[0]} × {size[1]}"
    return "" if inside[0] < inside[2] and inside[1] < inside[3] else "has nothing in the photo"


def _record(label: int, box: Corners, ignored: bool) -> BoxRecord:
    left, top, right, bottom = (round(value, 3) for value in box)
    return BoxRecord(label=label, left=left, top=top, right=right, bottom=bottom, ignored=ignored)


def _shown(corners: Corners) -> str:
    left, top, right, bottom = corners
    return f"the box from ({left:.6g}, {top:.6g}) to ({right:.6g}, {bottom:.6g})"
