"""What a user's file of texts may look like, and which line is named when it cannot be read."""

from pathlib import Path

import pytest

from edgetl.errors import DataError
from edgetl.finetune.data.leakage import find_equal
from edgetl.finetune.text.dataset import read_text_dataset
from edgetl.finetune.text.rows import read_texts

GOOD_ROWS = "text,label,split\n" + "a one,x,\na two,x,\nb one,y,\nb two,y,\n"


def write(folder: Path, content: str | bytes, name: str = "texts.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ("text,lable\na,x\n", "has a column `lable`", "did you mean `label`"),
        ("words,label\na,x\n", "has no column `text`", "it needs `text` and `label`"),
        ("text,label\na,x\n ,y\n", "line 3 of .* has no text", "needs `text` and `label`"),
        ("text,label\na,x\nb,\n", "line 3 of .* has no label", "needs `text` and `label`"),
        ("text,label,split\na,x,trian\n", "line 2 of .* has the split `trian`", "did you mean `train`"),
        ("text,label\n", "lists no texts", "one text a row"),
        ("text,label\na,x\nb,x\n", "has one class, `x`", "at least two"),
        ("text,label\na,x\nb,x\nc,y\n", "the class `y` has one train text", "at least two"),
        (GOOD_ROWS + "c,z,val\n", "the class `z` of .* has no train texts", "add some"),
        (b"text,label\ncaf\xe9,x\n", "cannot be read as CSV: .*utf-8", "UTF-8"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path: Path, content: str | bytes, message: str, hint: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_text_dataset(write(tmp_path, content), seed=0)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a", "label": "x"', "line 2 of .* cannot be read"),
        ('["a", "x"]', "line 2 of .* cannot be read"),
        ('{"text": "a"}', "line 2 of .* has no label"),
        ('{"text": ["a"], "label": "x"}', "line 2 of .* cannot be read"),
        (b'{"text": "caf\xe9", "label": "x"}', "line 2 of .* cannot be read"),
        ('{"text": "\\ud800", "label": "x"}', "line 2 of .*"),
    ],
)
def test_a_line_of_json_that_is_no_text_is_named(tmp_path: Path, line: str | bytes, message: str) -> None:
    first = b'{"text": "a", "label": "x"}\n'
    with pytest.raises(DataError, match=message):
        read_text_dataset(
            write(tmp_path, first + (line if isinstance(line, bytes) else line.encode()), "t.jsonl"), seed=0
        )


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    """Quoted commas, line breaks inside a text, a byte-order mark, numbers as labels, blank lines."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    table = write(tmp_path, '\ufefftext,label,split,group\n"one, ""two""\nthree",1,train,g\nfour,0,validation,\n')
    lines = write(
        tmp_path,
        '{"label": 1, "text": "one, \\"two\\"\\nthree", "split": "train", "group": "g", "source": {"a": 1}}\n\n'
        '{"text": "four", "label": 0, "split": "validation", "group": null}\n',
        "texts.jsonl",
    )
    columns = {"text": ['one, "two"\nthree', "four"], "label": [1, 0], "split": ["train", "val"], "group": ["g", None]}
    parquet.write_table(arrow.table(columns), tmp_path / "texts.parquet")
    found = [
        [(each.text, each.label, each.split, each.group) for each in read_texts(path)]
        for path in (table, lines, tmp_path / "texts.parquet")
    ]
    assert found[0] == [('one, "two"\nthree', "1", 0, "g"), ("four", "0", 1, "")]
    assert found[1] == found[0] and found[2] == found[0]


def test_a_sample_is_its_row_and_val_is_split_from_train_by_group(tmp_path: Path) -> None:
    """Two texts of a group never stand on two sides; the order of samples and texts is the same."""
    rows = [f"{label} {i} of {i // 2},{label},g{label}{i // 2}" for label in "xy" for i in range(20)]
    data = read_text_dataset(write(tmp_path, "text,label,group\n" + "\n".join(rows)), seed=3)
    samples = [*data.dataset.samples]
    assert data.dataset.split_from_train == ("val",) and data.dataset.labels == ("x", "y")
    assert len(data.dataset.split("val")) == 8
    sides: dict[str, set[str]] = {}
    for sample, text in zip(samples, data.texts(data.dataset.samples), strict=True):
        assert rows[int(sample.path) - 1].startswith(text + ",")
        sides.setdefault(sample.group, set()).add(sample.split)
    assert all(len(each) == 1 for each in sides.values())


def test_equal_texts_in_two_splits_are_told(tmp_path: Path) -> None:
    data = read_text_dataset(write(tmp_path, GOOD_ROWS + "a one,x,val\nb one,x,val\n"), seed=0)
    assert find_equal(data.dataset.samples, "text").lines() == [
        "2 texts of val are also in train (`5` = `1`, `6` = `3`)",
        "2 texts are also under another label (`3` = `6`)",
    ]


@pytest.mark.slow
def test_three_hundred_thousand_texts_need_little_memory(tmp_path: Path) -> None:
    """Read in a child process whose anonymous memory is watched; the texts themselves are 36 MB."""
    import subprocess
    import sys

    path = tmp_path / "many.csv"
    with path.open("w") as stream:
        stream.write("text,label\n")
        stream.writelines(f"{'many words ' * 11}{i},{'xy'[i % 2]}\n" for i in range(300_000))
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from edgetl.finetune.text.dataset import read_text_dataset\n"
        "def grown(): return int([l for l in open('/proc/self/status') if l.startswith('RssAnon')][0].split()[1])\n"
        "before = grown(); data = read_text_dataset(Path(sys.argv[1]), seed=0)\n"
        "assert len(data.dataset.samples) == 300_000; print((grown() - before) / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 80
