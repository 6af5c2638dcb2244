"""A manifest: a .csv or .parquet file that lists images, their labels and, if wanted, splits and groups."""

import csv
import difflib
import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from edgetl.errors import DataError, DependencyError, first_line, suggest
from edgetl.finetune.data.folders import SPLITS
from edgetl.finetune.data.table import SPLIT_NAMES, TableWriter, stored
from edgetl.types import Array

COLUMNS = ("path", "label", "split", "group")
BATCH = 4096
"""So many rows of a Parquet file are decoded at a time."""

Row = tuple[int, str, str, str, str]
"""Line (CSV) or row (Parquet) number from 1, path, label, split, group."""


def is_manifest(source: Path | str) -> bool:
    return Path(source).suffix.lower() in (".csv", ".parquet") and not Path(source).is_dir()


def scan_manifest(source: Path, table: TableWriter) -> tuple[str, ...]:
    """Appends every row in order; paths are relative to the manifest, an empty split is train.

    Returns the label names; a sample's label is its position among them. Raises DataError and DependencyError.
    """
    names: dict[str, int] = {}
    keys = stored(_append(source, table, names), np.dtype(np.int64))
    if not len(keys):
        raise DataError(f"`{source}` lists no images", hint="expected is one image a row, with `path` and `label`")
    _check_distinct(source, keys)
    return tuple(names)


def _append(source: Path, table: TableWriter, names: dict[str, int]) -> Iterator[Array]:
    """Appends the rows; yields a 64-bit key of each path, by which duplicates are found without keeping the paths."""
    missing: list[str] = []
    absent, keys = 0, []
    for number, path, label, split, group in _rows(source):
        where = f"{_unit(source)} {number} of `{source}`"
        if not path or not label:
            raise DataError(f"{where} has no {'label' if path else 'path'}", hint="every row needs both")
        if split and split.lower() not in SPLITS:
            raise DataError(f"{where} has the split `{split}`", hint=suggest(split, SPLITS))
        if not _is_file(source.parent / path):
            absent += 1
            missing += [f"`{path}` ({_unit(source)} {number})"] if absent <= 3 else []
        code = SPLIT_NAMES.index(SPLITS[split.lower()]) if split else 0
        table.append(path, names.setdefault(label, len(names)), code, group)
        keys.append(_key(path))
        if len(keys) == BATCH:
            yield np.array(keys, np.int64)
            keys = []
    if absent:
        more = f" and {absent - 3} more" if absent > 3 else ""
        raise DataError(
            f"`{source}` lists images that do not exist: {', '.join(missing)}{more}",
            hint=f"paths are relative to `{source.parent}`",
        )
    yield np.array(keys, np.int64)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except ValueError:  # a NUL in the name
        return False


def _unit(source: Path) -> str:
    return "line" if source.suffix.lower() == ".csv" else "row"


def _key(path: str) -> int:
    return hash(os.path.normpath(path))


def _check_distinct(source: Path, keys: Array) -> None:
    """Sorts `keys` in place; paths are compared only where two keys are equal."""
    keys.sort()
    again = set(keys[1:][keys[1:] == keys[:-1]].tolist())
    seen: dict[str, int] = {}
    for number, path, *_ in _rows(source) if again else ():
        if _key(path) not in again:
            continue
        first = seen.setdefault(os.path.normpath(path), number)
        if first != number:
            raise DataError(
                f"`{source}` lists `{path}` twice, in {_unit(source)}s {first} and {number}",
                hint="each image has one row",
            )


def _rows(source: Path) -> Iterator[Row]:
    if not source.is_file():
        raise DataError(f"the manifest `{source}` does not exist", hint="check the path")
    return csv_rows(source, COLUMNS) if source.suffix.lower() == ".csv" else parquet_rows(source, COLUMNS)


def csv_rows(source: Path, columns: Sequence[str]) -> Iterator[Row]:
    """The number of each line and what it has in the four `columns`; the first two are needed. Raises DataError."""
    try:
        with source.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, skipinitialspace=True)
            header = [name.strip() for name in next(reader, [])]
            known = checked_columns(source, header, columns)
            places = [header.index(name) if name in header else None for name in known]
            for row in reader:
                if row:
                    values = [row[i].strip() if i is not None and i < len(row) else "" for i in places]
                    yield reader.line_num, values[0], values[1], values[2], values[3]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"`{source}` cannot be read as CSV: {first_line(error)}", hint="check the path and the encoding (UTF-8)"
        ) from error


def parquet_rows(source: Path, columns: Sequence[str]) -> Iterator[Row]:
    """As `csv_rows`, with the numbers of rows. Raises DependencyError too."""
    if importlib.util.find_spec("pyarrow") is None:
        raise DependencyError("reading `.parquet` needs pyarrow", hint="pip install `edgetl[parquet]`")
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(source, memory_map=True, buffer_size=2**16, pre_buffer=False) as file:
            header = file.schema_arrow.names
            wanted = [name for name in checked_columns(source, header, columns) if name in header]
            for batch in file.iter_batches(batch_size=BATCH, columns=wanted, use_threads=False):
                found = {name: _texts(batch.column(name).to_pylist()) for name in wanted}
                blank = [""] * len(batch)
                for values in zip(*(found.get(name, blank) for name in columns), strict=True):
                    number += 1
                    first, label, split, group = values
                    yield number, first, label, split, group
    except (OSError, pyarrow.lib.ArrowException) as error:
        raise DataError(f"`{source}` cannot be read as Parquet: {first_line(error)}", hint="write it again") from error


def _texts(values: Iterable[object]) -> list[str]:
    return ["" if value is None else str(value).strip() for value in values]


def checked_columns(source: Path, header: Sequence[str], columns: Sequence[str]) -> Sequence[str]:
    """The known columns; raises DataError when one is missing, or misspelt so that it would be passed over."""
    for name in columns:
        if name in header:
            if header.count(name) > 1:
                raise DataError(f"`{source}` has two columns `{name}`", hint="remove one")
            continue
        strange = [column for column in header if column not in columns]
        close = difflib.get_close_matches(name, strange, n=1, cutoff=0.8)
        if close:
            raise DataError(f"`{source}` has a column `{close[0]}`", hint=f"did you mean `{name}`?")
        if name in columns[:2]:
            shown = ", ".join(f"`{column}`" for column in header[:20]) or "no columns"
            raise DataError(
                f"`{source}` has no column `{name}`, it has {shown}",
                hint=f"it needs `{columns[0]}` and `label`, and may have `split` and `group`, separated by commas",
            )
    return columns
