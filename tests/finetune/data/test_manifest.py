"""A manifest says the same as folders, and every mistake in it is named with its line."""

import csv
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from tests.conftest import write_dataset

from edgetl.errors import DataError
from edgetl.finetune.data.dataset import read_dataset


def write(path: Path, rows: list[dict[str, str | None]], encoding: str = "utf-8") -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path
    with path.open("w", newline="", encoding=encoding) as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, str | None]]:
    root = write_dataset(tmp_path / "d", {"train": 4, "val": 2})
    return [
        {"path": f"d/{path.relative_to(root).as_posix()}", "label": path.parent.name, "split": path.parts[-3]}
        for path in sorted(root.rglob("*.png"))
    ]


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_a_manifest_reads_like_its_folders(tmp_path: Path, rows: list[dict[str, str | None]], name: str) -> None:
    listed = read_dataset(write(tmp_path / name, [{**row, "camera": "x"} for row in rows]), seed=0)
    folders = read_dataset(tmp_path / "d", seed=0)
    assert listed.labels == folders.labels and listed.split_from_train == () and listed.root == tmp_path
    assert [(s.label, s.split, s.sha256) for s in listed.samples] == [
        (s.label, s.split, s.sha256) for s in folders.samples
    ]


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_an_empty_split_is_train_and_val_is_split_from_it(
    tmp_path: Path, rows: list[dict[str, str | None]], name: str
) -> None:
    source = write(tmp_path / name, [{"path": r["path"], "label": r["label"], "split": None} for r in rows])
    dataset = read_dataset(str(source), seed=0)
    assert dataset.record().counts == {"train": 15, "val": 3} and dataset.split_from_train == ("val",)


def test_groups_stay_on_one_side_of_the_split(tmp_path: Path, rows: list[dict[str, str | None]]) -> None:
    source = write(
        tmp_path / "m.csv",
        [{"path": r["path"], "label": r["label"], "group": f"p{i % 6 // 2}-{r['label']}"} for i, r in enumerate(rows)],
    )
    dataset = read_dataset(source, seed=0)
    sides = [{s.group for s in dataset.split(name)} for name in ("train", "val")]
    assert not sides[0] & sides[1] and {s.label for s in dataset.split("val")} == {0, 1, 2}


def test_a_byte_order_mark_and_spaces_do_no_harm(tmp_path: Path, rows: list[dict[str, str | None]]) -> None:
    text = "path, label\n\n" + "".join(f"{row['path']}, {row['label']} \n" for row in rows)
    (tmp_path / "m.csv").write_text(text, encoding="utf-8-sig")
    assert read_dataset(tmp_path / "m.csv", seed=0).labels == ("amber", "moss", "slate")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("path,lable\na,b\n", "has a column `lable`", "did you mean `label`?"),
        ("path,label,spilt\na,b,c\n", "has a column `spilt`", "did you mean `split`?"),
        ("path;label\na;b\n", "no column `path`, it has `path;label`", "separated by commas"),
        ("path,label\nd/train/amber/00.png,\n", "line 2 of `.*m.csv` has no label", "needs both"),
        ("path,label,split\nd/train/amber/00.png,a,tset\n", "line 2 of .* has the split `tset`", "`test`"),
        ("path,label\nnone.png,a\nd/train/amber/00.png,a\n", r"not exist: `none.png` \(line 2\)", "relative"),
        (
            "path,label\n\nd/train/amber/00.png,a\n./d/train/amber/00.png,b\n",
            "`./d/train/amber/00.png` twice, in lines 3 and 4",
            "one row",
        ),
        ("path,label\n", "lists no images", "one image a row"),
        ("", "no column `path`, it has no columns", "it needs"),
        ("path,label\n\xff\n", "cannot be read as CSV", "UTF-8"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, rows: list[dict[str, str | None]], text: str, message: str, hint: str
) -> None:
    (tmp_path / "m.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message) as caught:
        read_dataset(tmp_path / "m.csv", seed=0)
    assert caught.value.hint is not None and hint in caught.value.hint


def test_a_damaged_parquet_file_and_a_missing_manifest(tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_dataset(tmp_path / "m.parquet", seed=0)
    with pytest.raises(DataError, match="does not exist"):
        read_dataset(tmp_path / "n.csv", seed=0)
