"""Class folders: which images they hold, one folder's names in memory at a time."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgetl.errors import DataError
from edgetl.finetune.data.table import SPLIT_NAMES, TableWriter
from edgetl.run import Split
from edgetl.tasks.images import SUFFIXES

SPLITS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip


def scan_folders(root: Path, table: TableWriter) -> tuple[str, ...]:
    """Appends every image of ROOT/[SPLIT/]CLASS/ in the order of splits, classes and paths; hidden ones are left out.

    Returns the class names; a sample's label is its position among them. Raises DataError.
    """
    if not root.is_dir():
        what = "is neither a folder nor a .csv or .parquet" if root.exists() else "does not exist"
        raise DataError(f"the data folder `{root}` {what}", hint="check the path")
    folders = {path.name for path in _folders(root)}
    splits = {name: split for name, split in SPLITS.items() if name in folders}
    if splits and "train" not in splits.values():
        raise DataError(f"`{root}` has no folder `train`", hint=f"it has {', '.join(sorted(folders))}")
    whole: dict[str, Split] = {"": "train"}
    names: dict[str, int] = {}
    for name, split in (splits or whole).items():
        for folder in _folders(root / name):
            if not _append_images(folder, root, names.setdefault(folder.name, len(names)), split, table):
                raise DataError(f"the class folder `{folder}` holds no images", hint="remove it or fill it")
    if not names:
        raise DataError(
            f"`{root}` holds no class folders with images", hint="expected is ROOT/[train|val|test/]CLASS/image.jpg"
        )
    return tuple(names)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.name[0] != "." and path.is_dir())


def _append_images(folder: Path, root: Path, label: int, split: Split, table: TableWriter) -> int:
    count, place, code = 0, folder.relative_to(root).as_posix(), SPLIT_NAMES.index(split)
    for image in _images(str(folder)):
        table.append(f"{place}/{image}", label, code)
        count += 1
    return count


def _images(folder: str, below: str = "") -> Iterator[str]:
    """Paths of the images in and below `folder`, relative to it, sorted by name in each folder."""
    with os.scandir(folder) as entries:
        names = sorted(_wanted(entries))
    for name in names:
        if name.endswith("/"):
            yield from _images(f"{folder}/{name[:-1]}", f"{below}{name}")
        else:
            yield below + name


def _wanted(entries: Iterable["os.DirEntry[str]"]) -> Iterator[str]:
    """Names of images, and of folders with a slash at the end; a link to a folder could lead in a circle."""
    for entry in entries:
        if entry.name[0] == ".":
            continue
        if entry.is_dir(follow_symlinks=False):
            yield entry.name + "/"
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file():  # noqa: PTH122
            yield entry.name
