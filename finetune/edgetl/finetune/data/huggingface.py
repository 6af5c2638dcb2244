"""A Hugging Face data set, from the hub or saved on disk, written out once as class folders of its original bytes."""

import importlib.util
import io
import os
import re
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from edgetl.cache import cache_directory
from edgetl.errors import DataError, DependencyError, first_line
from edgetl.files import read_json, write_json
from edgetl.finetune.data.folders import SPLITS
from edgetl.tasks.images import FORMATS, SUFFIXES
from edgetl.types import Track, silent

PREFIX = "hf:"
SAVED = ("dataset_dict.json", "state.json")
"""`save_to_disk` writes one of these."""

LABELS = "labels.json"


def is_huggingface(source: Path | str) -> bool:
    return str(source).startswith(PREFIX) or any((Path(source) / name).is_file() for name in SAVED)


def class_names(root: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Of an unpacked data set: its label names in their own order, and the one behind each folder name."""
    names = read_json(root / LABELS, tuple[str, ...])
    return names, {folder_name(i, name): name for i, name in enumerate(names)}


def folder_name(label: int, name: str) -> str:
    """A label may hold slashes or dots, or be too long for a folder; its number makes the folder's name unique."""
    return f"{label:05}-{re.sub(r'[^A-Za-z0-9]+', '_', name)[:60]}"


def unpacked(source: Path | str, track: Track = silent) -> Path:
    """The folder ROOT/SPLIT/CLASS/N.ext in the cache, written whole or not at all.

    Raises DependencyError without the library or the network, DataError for a data set without images or labels.
    """
    splits = _load(str(source))
    image, label = _columns(source, next(iter(splits.values())))
    prints = sorted(f"{name} {rows._fingerprint}" for name, rows in splits.items())
    key = sha256("\n".join([*prints, image, label]).encode()).hexdigest()[:32]
    root = cache_directory("huggingface") / key
    if (root / LABELS).is_file():
        return root
    partial = root.with_name(f".{key}.{os.getpid()}.partial")
    try:
        for name, rows in splits.items():
            if name in SPLITS:
                names = _names(splits, label)
                _write_split(partial / SPLITS[name], source, name, rows, (image, label), names, track)
        write_json(partial / LABELS, names)
        if not (root / LABELS).is_file():
            partial.replace(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root


def _load(source: str) -> dict[str, Any]:
    """The splits by name; one without a name is train."""
    if importlib.util.find_spec("datasets") is None:
        raise DependencyError(f"reading `{source}` needs datasets", hint="pip install `edgetl[huggingface]`")
    import datasets

    datasets.disable_progress_bars()
    try:
        if source.startswith(PREFIX):
            name, _, config = source.removeprefix(PREFIX).partition(":")
            loaded = datasets.load_dataset(name, config or None)
        else:
            loaded = datasets.load_from_disk(source)
    except (OSError, datasets.exceptions.DatasetsError, ValueError) as error:
        kind = DependencyError if source.startswith(PREFIX) else DataError
        hint = "check the name and the network" if source.startswith(PREFIX) else "save it again with `save_to_disk`"
        raise kind(f"`{source}` cannot be loaded: {first_line(error)}", hint=hint) from error
    splits = {str(name): rows for name, rows in loaded.items()} if isinstance(loaded, dict) else {"train": loaded}
    if "train" not in {SPLITS.get(name) for name in splits}:
        raise DataError(f"`{source}` has no split `train`", hint=f"it has {', '.join(sorted(splits))}")
    return splits


def _columns(source: Path | str, rows: Any) -> tuple[str, str]:
    """The image column and the label column: a ClassLabel, or strings named `label`, `labels` or `class`."""
    import datasets

    features = rows.features
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    texts = [name for name in ("label", "labels", "class") if getattr(features.get(name), "dtype", "") == "string"]
    candidates = [name for name in labels if name == "label"] or labels or texts[:1]
    if len(images) != 1 or len(candidates) != 1:
        raise DataError(
            f"`{source}` has the columns {', '.join(f'`{name}`' for name in features)}",
            hint="it needs one Image column and one ClassLabel column, or strings in `label`",
        )
    return images[0], candidates[0]


def _names(splits: dict[str, Any], label: str) -> tuple[str, ...]:
    """A ClassLabel's names in its order, else the distinct strings, sorted."""
    kind = next(iter(splits.values())).features[label]
    if hasattr(kind, "names"):
        return tuple(kind.names)
    return tuple(sorted({str(name) for rows in splits.values() for name in rows.unique(label)}))


def _write_split(
    folder: Path,
    source: Path | str,
    split: str,
    rows: Any,
    columns: tuple[str, str],
    names: tuple[str, ...],
    track: Track,
) -> None:
    places = {name: folder / folder_name(i, name) for i, name in enumerate(names)}
    for number, content, value in track(_encoded(rows, columns), f"unpack {split}", len(rows)):
        if content is None or value is None or value == -1:
            what = "image" if content is None else "label"
            raise DataError(
                f"row {number} of the split `{split}` of `{source}` has no {what}", hint="filter it out first"
            )
        place = places[names[value] if isinstance(value, int) else value]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:08}{_suffix(*content)}").write_bytes(content[0])


def _encoded(rows: Any, columns: tuple[str, str]) -> Iterator[tuple[int, tuple[bytes, str] | None, int | str | None]]:
    """(row, (the image file's own bytes, its name), label)."""
    import datasets

    image, label = columns
    selected = rows.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
    for number, row in enumerate(selected):
        value = row[image]
        name = (value or {}).get("path") or ""
        content = (value or {}).get("bytes")
        if content is None and name:
            content = Path(name).read_bytes()
        yield number, None if content is None else (content, name), row[label]


def _suffix(content: bytes, name: str) -> str:
    """The file's own suffix; for bytes without a name the one of their format."""
    own = Path(name).suffix.lower()
    if own in SUFFIXES:
        return own
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return {"JPEG": ".jpg", "TIFF": ".tif"}.get(image.format or "", f".{(image.format or 'png').lower()}")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ".png"  # an image suffix, so that the decoder meets the file and says what is wrong
