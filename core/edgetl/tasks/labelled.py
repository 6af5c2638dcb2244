"""Labelled samples for judging. Of images: a folder of class folders, or a CSV file that lists them."""

import csv
import hashlib
from pathlib import Path

import msgspec

from edgetl.errors import DataError, suggest
from edgetl.files import sha256_of
from edgetl.tasks.detections import Found
from edgetl.tasks.images import SUFFIXES


class Labelled(msgspec.Struct, frozen=True, kw_only=True):
    """A sample, an image file or a text, and what is true of it: the index of its label, or in a photo its `objects`
    in pixels of the photo. `group` is what it belongs to, empty when unknown.
    """

    sample: Path | str
    label: int = 0
    objects: Found | None = None
    group: str = ""

    def sha256(self) -> str:
        """Of the file's content, or of the text in UTF-8."""
        if isinstance(self.sample, Path):
            return sha256_of(self.sample)
        return hashlib.sha256(self.sample.encode()).hexdigest()


def read_labelled(source: Path, labels: tuple[str, ...]) -> list[Labelled]:
    """FOLDER/LABEL/image files, or the rows of a `.csv` with the columns path, label and, if wanted, group.

    Paths in a CSV are relative to it. Raises DataError for a label that is none of `labels`, or for no image.
    """
    found = _from_csv(source) if source.suffix.lower() == ".csv" else _from_folders(source)
    index = {name: position for position, name in enumerate(labels)}
    strange = sorted({label for _, label, _ in found} - set(index))
    if strange:
        hint = suggest(strange[0], labels)
        if source.is_dir() and (splits := sorted({"train", "val", "test"} & set(strange))):
            hint = f"name one split: `{source / splits[-1]}`"
        raise DataError(f"`{strange[0]}` in `{source}` is none of the bundle's labels", hint=hint)
    if not found:
        raise DataError(f"`{source}` holds no labelled images", hint="expected is FOLDER/LABEL/image.jpg")
    return [Labelled(sample=path, label=index[label], group=group) for path, label, group in found]


def read_unlabelled(folder: Path) -> list[Path]:
    """Every image file below `folder`, sorted. Raises DataError when there is none."""
    if not folder.is_dir():
        raise DataError(f"the folder `{folder}` does not exist", hint="check the path")
    if not (found := _images(folder)):
        raise DataError(f"`{folder}` holds no images", hint=f"images end in {', '.join(sorted(SUFFIXES))}")
    return found


def _images(folder: Path) -> list[Path]:
    """The images below `folder`, sorted; nothing hidden, in no hidden folder."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in found if not any(part[0] == "." for part in path.relative_to(folder).parts))


def _from_folders(source: Path) -> list[tuple[Path, str, str]]:
    if source.is_file():
        raise DataError(f"`{source}` is neither a folder nor a .csv", hint="name a folder, or a CSV that lists images")
    if not source.is_dir():
        raise DataError(f"the data folder `{source}` does not exist", hint="check the path")
    folders = sorted(path for path in source.iterdir() if path.is_dir() and path.name[0] != ".")
    return [(image, folder.name, "") for folder in folders for image in _images(folder)]


def _from_csv(source: Path) -> list[tuple[Path, str, str]]:
    try:
        with source.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            rows = list(reader)
            columns = set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"`{source}` cannot be read as CSV: {error}", hint="check the path and the encoding") from error
    if not {"path", "label"} <= columns:
        known = ", ".join(f"`{name}`" for name in sorted(str(column) for column in columns))
        raise DataError(f"`{source}` has the columns {known}", hint="it needs `path` and `label`, and may have `group`")
    short = [number for number, row in enumerate(rows, start=2) if not row["path"] or not row["label"]]
    if short:
        raise DataError(f"line {short[0]} of `{source}` has no path or no label", hint="every row needs both")
    return [
        (source.parent / row["path"].strip(), row["label"].strip(), (row.get("group") or "").strip()) for row in rows
    ]
