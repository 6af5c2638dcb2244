"""The description of a YOLO data set: `data.yaml`, or a list of class names. Of YAML only what such files use."""

import re
from pathlib import Path

import msgspec

from edgetl.errors import DataError
from edgetl.run import Split

LISTS = ("classes.txt", "obj.names")

KEYS: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "test": "test"}


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """Class names in order, and where the photos of each split lie, relative to `root`. `source`: the file's name."""

    names: tuple[str, ...]
    root: Path
    splits: dict[Split, str] = {}
    source: str


def description_file(root: Path) -> Path | None:
    """`data.yaml` or another YAML file, else a list of names; None where there is none."""
    places = [root / "data.yaml", *sorted((*root.glob("*.yaml"), *root.glob("*.yml")))]
    places += [folder / name for name in LISTS for folder in (root, root / "labels")]
    return next((path for path in places if path.is_file()), None)


def read_description(root: Path) -> Description:
    """Raises DataError when there is none, or when it names no classes."""
    path = description_file(root)
    if path is None:
        raise DataError(f"`{root}` does not say what its classes are called", hint="add data.yaml or classes.txt")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"`{path}` cannot be read as text: {error}", hint="check the file") from error
    if path.name in LISTS:
        return _checked(path, tuple(line.strip() for line in lines if line.strip()), {})
    fields = _fields(lines)
    splits = {split: _plain(fields[key][0]) for key, split in KEYS.items() if fields.get(key, [""])[0]}
    return _checked(path, _names(fields.get("names", []), path), splits, base=_plain(fields.get("path", [""])[0]))


def _checked(path: Path, names: tuple[str, ...], splits: dict[Split, str], base: str = "") -> Description:
    if not names:
        raise DataError(f"`{path}` names no classes", hint="`names: [first, second]`")
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"`{path}` names the class `{twice[0]}` twice", hint="every class needs a name of its own")
    root = path.parent / base if (path.parent / base).is_dir() else path.parent
    return Description(names=names, root=root, splits=splits, source=path.name)


def _fields(lines: list[str]) -> dict[str, list[str]]:
    """What stands behind each key at the margin, and the indented or listed lines below it, without comments."""
    fields: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        text = re.sub(r"(^|\s)#.*$", "", line).rstrip()
        if found := re.match(r"([A-Za-z_]+)\s*:\s*(.*)$", text):
            current = fields[found[1]] = [found[2]]
        elif text.strip():
            current.append(text.strip())
    return fields


def _names(values: list[str], path: Path) -> tuple[str, ...]:
    """`[a, b]`, over several lines too, `- a` a line, or `0: a` a line."""
    text = " ".join(values).strip()
    if text.startswith("["):
        return tuple(_plain(each) for each in text.strip("[], ").split(",") if each.strip())
    below = values[1:]
    if all(line.startswith("- ") for line in below):
        return tuple(_plain(line[2:]) for line in below)
    numbered = [re.match(r"(\d+)\s*:\s*(.+)$", line) for line in below]
    if not all(numbered) or [int(each[1]) for each in numbered if each] != list(range(len(below))):
        raise DataError(
            f"the `names` of `{path}` cannot be read", hint="`names: [first, second]`, or `0: first` a line"
        )
    return tuple(_plain(each[2]) for each in numbered if each)


def _plain(text: str) -> str:
    return text.strip().strip("'\"")
