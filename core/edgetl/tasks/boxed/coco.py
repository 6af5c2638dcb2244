"""COCO JSON: one file a split, boxes as left, top, width, height in pixels (https://cocodataset.org/#format-data)."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgetl.errors import DataError, first_line
from edgetl.files import read_bytes
from edgetl.run import Split
from edgetl.tasks.boxed.photos import Listed, ListedPhoto, Listing
from edgetl.tasks.boxed.splits import split_named


class _Category(msgspec.Struct):
    id: int
    name: str


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: int = 0
    height: int = 0


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    id: int = -1
    iscrowd: int = 0


class _Document(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation] = []


def coco_files(root: Path) -> list[tuple[Path, Split | None]]:
    """The JSON files of a data set with the split each is of: in split folders, in `annotations/`, or beside photos."""
    files = sorted((*root.glob("*.json"), *root.glob("*/_annotations.coco.json"), *root.glob("annotations/*.json")))
    boxed = [path for path in files if path.name.startswith(("instances", "_annotations"))] or files
    folders = {path: path.parent.name if path.parent != root else "" for path in boxed}
    found = [(path, split_named(path.stem) or split_named(folders[path])) for path in boxed]
    return found if len(found) == 1 else [(path, split) for path, split in found if split]


def read_coco(root: Path) -> Listing:
    """Every JSON file of the data set. Raises DataError that names the file and the annotation."""
    files = coco_files(root)
    if not files:
        hint = "expected is train/_annotations.coco.json or annotations/instances_train.json"
        raise DataError(f"`{root}` holds no COCO JSON", hint=hint)
    names: dict[str, None] = {}
    photos: list[ListedPhoto] = []
    for path, split in files:
        document = _decoded(path)
        categories = {each.id: each.name for each in sorted(document.categories, key=lambda each: each.id)}
        names |= dict.fromkeys(categories.values())
        photos += _photos(root, path, split, document, categories)
    read = ", ".join(str(path.relative_to(root)) for path, _ in files)
    return Listing(names=tuple(names), photos=photos, layout=f"COCO JSON ({read})")


def _decoded(path: Path) -> _Document:
    try:
        return msgspec.json.decode(read_bytes(path, DataError), type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            f"`{path}` is no COCO JSON: {first_line(error)}", hint="it needs `images`, `categories` and `annotations`"
        ) from error


def _photos(
    root: Path, path: Path, split: Split | None, document: _Document, categories: dict[int, str]
) -> Iterator[ListedPhoto]:
    known = {image.id for image in document.images}
    objects: dict[int, list[Listed]] = {}
    for number, each in enumerate(document.annotations):
        where = f"`{path}`, annotation {each.id if each.id >= 0 else f'number {number}'}"
        if each.image_id not in known:
            raise DataError(f"{where} is of the image {each.image_id}, which is not listed", hint="add or remove it")
        if each.category_id not in categories:
            known_ids = ", ".join(map(str, list(categories)[:20]))
            raise DataError(f"{where} has the category {each.category_id}", hint=f"`categories` has {known_ids}")
        left, top, width, height = each.bbox
        listed = Listed(
            name=categories[each.category_id], box=(left, top, left + width, top + height), where=where,
            ignored=bool(each.iscrowd),
        )  # fmt: skip
        objects.setdefault(each.image_id, []).append(listed)
    folders = _folders(root, path, split)
    for image in document.images:
        size = (image.width, image.height) if image.width and image.height else None
        yield ListedPhoto(
            path=_place(folders, image.file_name), where=f"`{path}`, image {image.id}",
            objects=objects.get(image.id, ()), split=split, size=size,
        )  # fmt: skip


def _folders(root: Path, path: Path, split: Split | None) -> list[Path]:
    """Where the photos of a file may lie, the likeliest first."""
    stem = path.stem.removeprefix("instances_")
    named = [stem, *([split] if split else [])]
    inner = [folder / name for name in named for folder in (root, root / "images")]
    return [path.parent, *inner, root / "images", root]


def _place(folders: list[Path], name: str) -> Path:
    return next((path for folder in folders if (path := folder / name).is_file()), folders[0] / name)
