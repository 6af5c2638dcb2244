"""Which images a run sees: every layout, every mistake."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from tests.conftest import write_dataset

from edgetl.errors import DataError
from edgetl.finetune.data.dataset import read_dataset
from edgetl.finetune.data.table import BLOCK, TableWriter
from edgetl.run import SampleRecord, write_samples


@pytest.mark.parametrize(
    ("counts", "expected", "headline"),
    [
        ({"train": 10, "val": 4, "test": 3}, {"train": 30, "val": 12, "test": 9}, "test"),
        ({"train": 10, "val": 4}, {"train": 30, "val": 12}, "val"),
        ({"train": 10, "valid": 4}, {"train": 30, "val": 12}, "val"),
        ({"train": 10, "test": 3}, {"train": 24, "val": 6, "test": 9}, "test"),
        ({"": 10}, {"train": 24, "val": 6}, "val"),
    ],
)
def test_layouts(tmp_path: Path, counts: dict[str, int], expected: dict[str, int], headline: str) -> None:
    dataset = read_dataset(write_dataset(tmp_path / "d", counts), seed=0)
    record = dataset.record()
    assert record.counts == expected and dataset.headline == headline
    assert dataset.labels == ("amber", "moss", "slate")
    assert record.split_from_train == (("val",) if "val" not in counts and "valid" not in counts else ())


def test_the_split_is_stratified_seeded_and_stable(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "d", {"": 10})
    first, again, other = (read_dataset(root, seed=seed) for seed in (0, 0, 1))
    assert list(first.samples) == list(again.samples) != list(other.samples)
    assert [sum(s.label == label for s in first.split("val")) for label in range(3)] == [2, 2, 2]


def test_the_fingerprint_follows_content_and_labels(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "d", {"train": 4, "val": 2})
    before = read_dataset(root, seed=0).record().fingerprint
    assert before == read_dataset(root, seed=0).record().fingerprint
    (root / "train" / "amber" / "00.png").rename(root / "train" / "moss" / "new.png")
    moved = read_dataset(root, seed=0).record().fingerprint
    Image.new("RGB", (9, 9)).save(root / "train" / "amber" / "01.png")
    assert len({before, moved, read_dataset(root, seed=0).record().fingerprint}) == 3


def test_case_hidden_files_nesting_and_links(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "d", {"train": 3, "val": 2})
    amber = root / "train" / "amber"
    (amber / "00.png").rename(amber / "00.PNG")
    (amber / "deep").mkdir()
    (amber / "01.png").rename(amber / "deep" / "näme with space.png")
    (amber / "._02.png").write_bytes(b"finder")
    (amber / "notes.txt").write_text("x")
    shutil.move(root / "val" / "moss", tmp_path / "moss")
    (root / "val" / "moss").symlink_to(tmp_path / "moss")
    assert read_dataset(root, seed=0).record().counts == {"train": 9, "val": 6}


def remove(*names: str) -> object:
    def change(root: Path) -> None:
        for name in names:
            shutil.rmtree(root / name)

    return change


def empty(root: Path) -> None:
    for path in (root / "train" / "amber").iterdir():
        path.unlink()


def one_image(root: Path) -> None:
    for path in sorted((root / "train" / "amber").iterdir())[1:]:
        path.unlink()


def stranger(root: Path) -> None:
    shutil.copytree(root / "val" / "amber", root / "val" / "rust")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("train"), "no folder `train`"),
        (remove("train", "val"), "no class folders"),
        (remove("train/amber", "train/moss", "val/amber", "val/moss"), "has one class, `slate`"),
        (empty, "amber` holds no images"),
        (one_image, "`amber` has one train image"),
        (stranger, "`rust` of .* has no train images"),
        (lambda root: shutil.rmtree(root), "does not exist"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, damage: object, message: str) -> None:
    root = write_dataset(tmp_path / "d", {"train": 4, "val": 2})
    damage(root)  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        read_dataset(root, seed=0)


def test_with_a_kept_head_the_folders_must_be_its_labels(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "d", {"train": 1, "val": 1})
    labels = ("other", "slate", "moss", "amber")
    assert {s.label for s in read_dataset(root, seed=0, labels=labels, training=False).samples} == {1, 2, 3}
    with pytest.raises(DataError, match="none of the weights' labels") as caught:
        read_dataset(root, seed=0, labels=("slates", "moss", "amber"), training=False)
    assert caught.value.hint == "did you mean `slates`?"


def test_a_hidden_folder_is_left_out(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "d", {"train": 3, "val": 2})
    shutil.copytree(root / "train" / "amber", root / "train" / "moss" / ".ipynb_checkpoints")
    assert read_dataset(root, seed=0).record().counts == {"train": 9, "val": 6}


def test_samples_come_by_split_label_and_path_and_without_leaves_files_out(tmp_path: Path) -> None:
    dataset = read_dataset(write_dataset(tmp_path / "d", {"test": 2, "train": 3, "val": 2}), seed=0)
    records = list(dataset.samples)
    order = ["train", "val", "test"]
    assert records == sorted(records, key=lambda s: (order.index(s.split), s.label, s.path))
    assert list(dataset.split("val")) == [s for s in records if s.split == "val"] and records[3] == dataset.samples[3]
    left = dataset.without(["train/moss/01.png"])
    assert list(left.samples) == [s for s in records if s.path != "train/moss/01.png"]
    assert left.skipped == ("train/moss/01.png",) and left.record().counts == {"train": 8, "val": 6, "test": 6}


def test_rows_keep_their_values_across_blocks(tmp_path: Path) -> None:
    table, count = TableWriter(), 2 * BLOCK + 5
    for i in range(count):
        table.append(f"ä/{i}.png", i % 7, i % 3, f"g{i % 11}" if i % 2 else "")
    samples = table.finish()
    rows = np.random.default_rng(0).permutation(count)
    taken = samples.take(rows)
    expected = [(f"ä/{i}.png", i % 7, f"g{i % 11}" if i % 2 else "") for i in rows.tolist()]
    assert [(s.path, s.label, s.group) for s in taken] == expected
    assert np.array_equal(taken.labels, rows % 7) and taken.path(9) == f"ä/{rows[9]}.png"
    assert len(samples.take(rows[:0])) == 0 and list(samples[3:5]) == [samples[3], samples[4]]


@pytest.mark.parametrize("count", [0, 1, 9000])
def test_samples_are_written_as_the_json_that_open_run_reads(tmp_path: Path, count: int) -> None:
    samples = [SampleRecord(path=f'a],["{i}', label=i, split="val", sha256="00", group="g") for i in range(count)]
    write_samples(tmp_path / "samples.json", samples)
    assert msgspec.json.decode((tmp_path / "samples.json").read_bytes(), type=list[SampleRecord]) == samples
    assert msgspec.json.decode(b'["a", 1, "val", "00"]', type=SampleRecord).group == ""
