"""Texts to judge by are read from the files that training takes, and what is wrong is said with its row."""

from pathlib import Path

import pytest

from edgetl.errors import DataError
from edgetl.tasks.labelled_texts import read_bare_texts, read_texts

LABELS = ("bad", "good")


def test_of_a_file_with_splits_the_rows_that_no_training_saw_are_read(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text('text,label,split,group\n"one, two",good,train,\nthree,bad,test,a\nfour,good,val,\n')
    (found,) = read_texts(path, LABELS)
    assert (found.sample, found.label, found.group) == ("three", 0, "a")
    path.write_text("text,label\nthree,bad\nfour,good\n")
    assert [each.label for each in read_texts(path, LABELS)] == [0, 1]


def test_lines_of_json_and_bare_texts(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"text": "a\\u2028b", "label": "good"}\n\n{"text": "c", "label": "bad"}\n')
    assert [each.sample for each in read_texts(tmp_path / "r.jsonl", LABELS)] == ["a\u2028b", "c"]
    (tmp_path / "r.txt").write_text("one\n\ntwo\n")
    assert read_bare_texts(tmp_path / "r.txt") == ["one", "two"]
    assert read_bare_texts(tmp_path / "r.jsonl") == ["a\u2028b", "c"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", b"text,label\na,goood\n", "`goood` in row 1"),
        ("r.csv", b"text\na\n", "row 1 of .* has no `label`"),
        ("r.csv", b"text,label\n ,good\n", "row 1 of .* has no `text`"),
        ("r.csv", b"text,label\n", "holds no texts"),
        ("r.csv", b"text,label\n\xff,good\n", "cannot be read"),
        ("r.jsonl", b'{"text": "a", "label": "good"}\nno\n', "line 2 of .* is no JSON object"),
        ("r.doc", b"", "is neither a .csv nor a .jsonl"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_texts(tmp_path / name, LABELS)
