"""labels.txt: every output gets a label, none of them twice."""

from pathlib import Path

import pytest

from edgetl.errors import DataError
from edgetl.export.adopt.labels import read_labels


def test_lines_are_labels_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("\ufeffzebra\r\n ant \nbee\n\n".encode())
    assert read_labels(tmp_path / "labels.txt") == ("zebra", "ant", "bee")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no labels"),
        (b"ant\n\nbee\n", "line 2 of"),
        (b"ant\nbee\nant\n", "lines 1 and 3"),
        (b"\xff\xfe\x00", "is no UTF-8"),
    ],
)
def test_a_mistake_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_labels(tmp_path / "labels.txt")
