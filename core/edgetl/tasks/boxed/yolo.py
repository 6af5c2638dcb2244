"""YOLO text: a line an object, `class centre-x centre-y width height` in parts of the photo's sides."""

import math
from collections.abc import Iterator
from pathlib import Path

from edgetl.errors import DataError
from edgetl.run import Split
from edgetl.tasks.boxed.data_yaml import Description, read_description
from edgetl.tasks.boxed.photos import Listed, ListedPhoto, Listing
from edgetl.tasks.images import SUFFIXES

FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",),
}  # fmt: skip


def read_yolo(root: Path) -> Listing:
    """Every photo of the data set; one without a text file shows nothing. Raises DataError."""
    described = read_description(root)
    found = [(split, path) for split, paths in _photos(root, described) for path in paths]
    if not found:
        raise DataError(f"`{root}` holds no photos as YOLO keeps them", hint="expected is images/train, labels/train")
    photos = [_photo(path, split, described.names) for split, path in found]
    return Listing(names=described.names, photos=photos, layout=f"YOLO text ({described.source})")


def _photos(root: Path, described: Description) -> Iterator[tuple[Split | None, list[Path]]]:
    """Each split with its photos: as the description says, else by the usual folders, else all of `images/`."""
    splits = [(split, place) for split in FOLDERS if (place := _place(root, described, split))]
    if splits:
        yield from ((split, _listed(place) if place.is_file() else _inside(place)) for split, place in splits)
    else:
        yield None, _inside(root / "images" if (root / "images").is_dir() else root)


def _place(root: Path, described: Description, split: Split) -> Path | None:
    named = described.splits.get(split)
    said = [described.root / named, root / named.lstrip("./")] if named else []
    usual = [place for name in FOLDERS[split] for place in (root / "images" / name, root / name / "images")]
    return next((place for place in (*said, *usual) if place.exists()), None)


def _inside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.name[0] != ".")


def _listed(path: Path) -> list[Path]:
    """The photos of a list, one a line, relative to it."""
    return [path.parent / line.strip() for line in path.read_text().splitlines() if line.strip()]


def _photo(path: Path, split: Split | None, names: tuple[str, ...]) -> ListedPhoto:
    text = _text_of(path)
    objects = tuple(_objects(text, names)) if text.is_file() else ()
    return ListedPhoto(path=path, where=f"`{text}`", objects=objects, split=split)


def _text_of(photo: Path) -> Path:
    """The last `images` of the path is `labels` there, as YOLO's trainers have it; else it lies beside the photo."""
    parts = list(photo.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _objects(path: Path, names: tuple[str, ...]) -> Iterator[Listed]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"`{path}` cannot be read as text: {error}", hint="it needs a line an object") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"line {number} of `{path}`"
        label, x, y, width, height = _numbers(line, where)
        if label != int(label) or not 0 <= label < len(names):
            raise DataError(f"{where} has the class `{line.split()[0]}`", hint=f"there are 0 to {len(names) - 1}")
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        yield Listed(name=names[int(label)], box=box, where=where, relative=True)


def _numbers(line: str, where: str) -> list[float]:
    words = line.split()
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise DataError(
            f"{where} is `{line[:60]}`", hint="expected are five numbers: class x y width height"
        ) from error
    if len(numbers) != 5 or not all(map(math.isfinite, numbers)):
        hint = "expected are five: class x y width height; outlines of masks are not read"
        raise DataError(f"{where} has {len(numbers)} numbers", hint=hint)
    return numbers
