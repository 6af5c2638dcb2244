"""Labelled texts as files list them: CSV, JSON lines or Parquet, with `text`, `label` and maybe `split` and `group`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from edgetl.errors import DataError, first_line, suggest
from edgetl.finetune.data.folders import SPLITS
from edgetl.finetune.data.manifest import Row, checked_columns, csv_rows, parquet_rows
from edgetl.finetune.data.table import SPLIT_NAMES
from edgetl.tasks.tokens import MAX_CHARACTERS

COLUMNS = ("text", "label", "split", "group")

MAX_LINE_BYTES = 8 * MAX_CHARACTERS
"""A longer line of JSON is refused: escapes make at most six bytes of a character."""

Value = str | int | float | bool | None


class LabelledText(msgspec.Struct, frozen=True, kw_only=True):
    """`where` says which line or row it is, for a message; `split` is an index into SPLIT_NAMES."""

    where: str
    text: str
    label: str
    split: int
    group: str


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    text: Value = None
    label: Value = None
    split: Value = None
    group: Value = None


def read_texts(source: Path) -> Iterator[LabelledText]:
    """Every row in order; an empty split is train. Raises DataError that names the line, DependencyError."""
    kind = source.suffix.lower()
    if kind not in READERS:
        raise DataError(f"`{source}` lists no texts", hint=suggest(kind, READERS, what="texts are read from"))
    if not source.is_file():
        raise DataError(f"the file `{source}` does not exist", hint="check the path")
    unit = "row" if kind == ".parquet" else "line"
    for number, text, label, split, group in READERS[kind](source):
        where = f"{unit} {number} of `{source}`"
        _check(where, text, label, split)
        code = SPLIT_NAMES.index(SPLITS[split.lower()]) if split else 0
        yield LabelledText(where=where, text=text, label=label, split=code, group=group)


def _check(where: str, text: str, label: str, split: str) -> None:
    if not text:
        raise DataError(f"{where} has no text", hint="every row needs `text` and `label`")
    if not label:
        raise DataError(f"{where} has no label", hint="every row needs `text` and `label`")
    if len(text) > MAX_CHARACTERS:
        raise DataError(f"{where} has {len(text):,} characters", hint=f"a text has {MAX_CHARACTERS:,} at most")
    if split and split.lower() not in SPLITS:
        raise DataError(f"{where} has the split `{split}`", hint=suggest(split, SPLITS))


def _json_rows(source: Path) -> Iterator[Row]:
    decoder, seen = msgspec.json.Decoder(_Line), False
    with source.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES + 1), b""), 1):
            where = f"line {number} of `{source}`"
            if len(line) > MAX_LINE_BYTES:
                raise DataError(f"{where} is longer than {MAX_LINE_BYTES:,} bytes", hint="one JSON object a line")
            if not line.strip():
                continue
            try:
                if not seen:
                    checked_columns(source, [*msgspec.json.decode(line, type=dict[str, object])], COLUMNS)
                found, seen = decoder.decode(line), True
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                hint = 'one JSON object a line, such as {"text": "…", "label": "…"}, in UTF-8'
                raise DataError(f"{where} cannot be read: {first_line(error)}", hint=hint) from error
            text, label, split, group = (
                "" if value is None else str(value).strip()
                for value in (found.text, found.label, found.split, found.group)
            )
            yield number, text, label, split, group


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": lambda source: csv_rows(source, COLUMNS),
    ".jsonl": _json_rows,
    ".parquet": lambda source: parquet_rows(source, COLUMNS),
}
