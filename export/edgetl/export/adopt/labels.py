"""`labels.txt`: one label a line, in the order of the model's outputs."""

from pathlib import Path

from edgetl.errors import DataError, first_line
from edgetl.files import read_bytes


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels. Raises DataError for an empty line, a label that comes twice, or a file that is no text."""
    try:
        text = read_bytes(path, DataError).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"`{path}` is no UTF-8: {first_line(error)}", hint="one label a line, in UTF-8") from error
    labels = [line.strip() for line in text.rstrip().splitlines()]
    if not labels:
        raise DataError(f"`{path}` has no labels", hint="one label a line, in the order of the model's outputs")
    first: dict[str, int] = {}
    for number, label in enumerate(labels, start=1):
        if not label:
            raise DataError(f"line {number} of `{path}` is empty", hint="every output of the model needs a label")
        if label in first:
            raise DataError(
                f"`{label}` stands in `{path}` twice, in lines {first[label]} and {number}",
                hint="labels must be distinct; add a number or a word to one",
            )
        first[label] = number
    return tuple(labels)
