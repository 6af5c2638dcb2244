"""Labelled texts for judging: a CSV or JSONL file with the columns text, label and, if wanted, split and group."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edgetl.errors import DataError, first_line, suggest
from edgetl.tasks.labelled import Labelled

SPLITS = ("test", "val")
"""Of a file with splits those rows are judged that no training saw: the first of these that it has."""

MAX_BYTES = 2**31
"""A larger file is refused unread."""


def read_texts(source: Path, labels: tuple[str, ...]) -> list[Labelled]:
    """The rows of a `.csv` or `.jsonl` file. Raises DataError for a label that is none of `labels`, or for no text."""
    rows = list(rows_of(source))
    held = next((split for split in SPLITS if any(row.get("split") == split for _, row in rows)), None)
    if held is not None:
        rows = [(line, row) for line, row in rows if row.get("split") == held]
    index = {name: position for position, name in enumerate(labels)}
    found = [_labelled(source, line, row, index) for line, row in rows]
    if not found:
        raise DataError(f"`{source}` holds no texts", hint="each row needs `text` and `label`")
    return found


def read_bare_texts(source: Path) -> list[str]:
    """The texts of a file without labels: a row or, of a `.txt`, a line each. Raises DataError."""
    if source.suffix.lower() == ".txt":
        found = [line for line in _text(source).splitlines() if line.strip()]
    else:
        found = [_field(source, line, row, "text") for line, row in rows_of(source)]
    if not found:
        raise DataError(f"`{source}` holds no texts", hint="one a line, or a CSV with the column `text`")
    return found


def rows_of(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each row, the first data row is 1, and its columns. Raises DataError."""
    kind = source.suffix.lower()
    if kind == ".csv":
        try:
            yield from enumerate(csv.DictReader(_text(source).splitlines(keepends=True)), start=1)
        except csv.Error as error:
            raise DataError(f"`{source}` cannot be read as CSV: {error}", hint="check the file") from error
    elif kind in (".jsonl", ".ndjson"):
        for number, line in enumerate(_text(source).split("\n"), start=1):
            if line.strip():
                yield number, _decoded(source, number, line)
    else:
        raise DataError(f"`{source}` is neither a .csv nor a .jsonl", hint="name a file with `text` and `label`")


def _decoded(source: Path, number: int, line: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise DataError(f"line {number} of `{source}` is no JSON object: {error}", hint="one object a line") from error


def _text(source: Path) -> str:
    try:
        if source.stat().st_size > MAX_BYTES:
            raise DataError(f"`{source}` is larger than {MAX_BYTES} bytes", hint="judge on a part of it")
        return source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"`{source}` cannot be read: {first_line(error)}", hint="check path and encoding") from error


def _labelled(source: Path, line: int, row: dict[str, Any], index: dict[str, int]) -> Labelled:
    text, label = _field(source, line, row, "text"), _field(source, line, row, "label")
    if label not in index:
        raise DataError(
            f"`{label}` in row {line} of `{source}` is none of the bundle's labels", hint=suggest(label, index)
        )
    return Labelled(sample=text, label=index[label], group=str(row.get("group") or ""))


def _field(source: Path, line: int, row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None or not str(value).strip():
        raise DataError(f"row {line} of `{source}` has no `{name}`", hint="every row needs `text` and `label`")
    return str(value)
