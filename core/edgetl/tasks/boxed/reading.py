"""Recognises how photos with boxes lie on disk, and reads them."""

from collections.abc import Callable
from pathlib import Path

from edgetl.errors import ConfigError, DataError, suggest
from edgetl.tasks.boxed.checking import Findings, checked, refuse
from edgetl.tasks.boxed.coco import coco_files, read_coco
from edgetl.tasks.boxed.data_yaml import description_file
from edgetl.tasks.boxed.photos import BoxedPhotos, Listing, truths
from edgetl.tasks.boxed.voc import read_voc, voc_files
from edgetl.tasks.boxed.yolo import read_yolo
from edgetl.tasks.labelled import Labelled

AUTO = "auto"

READERS: dict[str, Callable[[Path], Listing]] = {"coco": read_coco, "voc": read_voc, "yolo": read_yolo}

FORMATS = (AUTO, *READERS)


def read_photos(
    source: Path, *, labels: tuple[str, ...] | None = None, format: str = AUTO, skip_bad_boxes: bool = False
) -> BoxedPhotos:
    """Photos with boxes below the folder `source`, with what is to be said about them as notes.

    `labels`: a model's own, which every class must be one of; else the classes that have boxes, in the order of the
    files. A box at most 2 pixels or 1 % of the side outside its photo is cut at the border; a box further out, inside
    out or empty is an error, with `skip_bad_boxes` a note. Raises DataError, and ConfigError for an unknown format.
    """
    if not source.is_dir():
        what = "is a file" if source.exists() else "does not exist"
        raise DataError(f"the data folder `{source}` {what}", hint="name the folder that holds photos and boxes")
    listing = READERS[_format(source, format)](source)
    used = {each.name for photo in listing.photos for each in photo.objects}
    known = labels if labels is not None else tuple(name for name in listing.names if name in used)
    if not used:
        raise DataError(f"`{source}` holds no boxes", hint=f"it was read as {listing.layout}")
    findings = Findings()
    photos = tuple(checked(source, listing.photos, known, findings))
    if not skip_bad_boxes:
        refuse(findings)
    empty = sum(not photo.boxes for photo in photos)
    idle = [name for name in listing.names if name not in used]
    notes = [f"read as {listing.layout}: {len(photos)} photos, {sum(len(photo.boxes) for photo in photos)} boxes"]
    notes += [f"{empty} photos show nothing: background"] if empty else []
    notes += [f"no box is of {', '.join(f'`{name}`' for name in idle)}"] if idle and labels is None else []
    return BoxedPhotos(
        root=source, labels=known, photos=photos, layout=listing.layout, notes=(*notes, *findings.notes())
    )


def read_boxed(source: Path, labels: tuple[str, ...]) -> list[Labelled]:
    """The photos to judge a model of these `labels` by: those of test, else of val, else all. Raises DataError."""
    found = read_photos(source, labels=labels)
    return [Labelled(sample=source / photo.path, objects=truths(photo.boxes)) for photo in found.judged]


ANNOTATIONS = frozenset((".json", ".xml", ".txt", ".yaml", ".yml"))
"""What the files end in that say where the objects are."""


def formats_of(source: Path) -> list[str]:
    """The formats whose files lie in the folder `source`."""
    found = {"coco": bool(coco_files(source)), "voc": bool(voc_files(source)), "yolo": bool(description_file(source))}
    return [name for name, there in found.items() if there]


def _format(source: Path, asked: str) -> str:
    """The format asked for, else the one whose files are there. Raises DataError when it is none or not only one."""
    if asked not in FORMATS:
        raise ConfigError(f"unknown format `{asked}`", hint=suggest(asked, FORMATS))
    if asked != AUTO:
        return asked
    formats = formats_of(source)
    if not formats:
        raise DataError(
            f"`{source}` holds no boxes in a known format",
            hint="COCO JSON, Pascal VOC (Annotations/*.xml) or YOLO text (data.yaml, images/, labels/)",
        )
    if len(formats) > 1:
        raise DataError(f"`{source}` could be {' or '.join(formats)}", hint="say which with `--format`")
    return formats[0]
