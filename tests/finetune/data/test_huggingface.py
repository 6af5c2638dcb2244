"""A Hugging Face data set reads like class folders: its own bytes, its own label order."""

from pathlib import Path

import datasets
import pytest
from PIL import Image
from tests.conftest import write_dataset

from edgetl.errors import DataError
from edgetl.finetune.data.dataset import read_dataset

NAMES = ["zebra/stripes", "..", "ünit"]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return [str(path) for path in sorted(write_dataset(tmp_path / "d", {"": 5}).rglob("*.png"))]


def saved(folder: Path, columns: dict[str, list[object]], features: dict[str, object], split: str = "") -> Path:
    rows = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    (datasets.DatasetDict({"train": rows, split: rows}) if split else rows).save_to_disk(str(folder))
    return folder


def test_class_labels_keep_their_order_and_files_their_bytes(tmp_path: Path, files: list[str]) -> None:
    features = {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=[*NAMES, "unused"])}
    columns: dict[str, list[object]] = {"picture": list(files), "kind": [i // 5 for i in range(15)]}
    source = saved(tmp_path / "s", columns, features, split="validation")
    dataset = read_dataset(source, seed=0)
    assert dataset.labels == tuple(NAMES) and dataset.record().counts == {"train": 15, "val": 15}
    assert [(dataset.root / s.path).read_bytes() for s in dataset.split("val")] == [Path(f).read_bytes() for f in files]
    assert dataset.split_from_train == () and list(read_dataset(source, seed=0).samples) == list(dataset.samples)


def test_text_labels_and_pictures_without_a_file(tmp_path: Path) -> None:
    pictures: list[object] = [Image.new("RGB", (20, 20), (9 * i, 0, 0)) for i in range(15)]
    columns: dict[str, list[object]] = {"image": pictures, "label": ["b", "a", "c"] * 5}
    source = saved(tmp_path / "s", columns, {"image": datasets.Image(), "label": datasets.Value("string")})
    dataset = read_dataset(str(source), seed=0)
    assert dataset.labels == ("a", "b", "c") and dataset.record().counts == {"train": 12, "val": 3}
    assert all(s.path.endswith(".png") for s in dataset.samples)


def test_rows_without_a_label_and_sets_without_images_are_named(tmp_path: Path, files: list[str]) -> None:
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}
    source = saved(tmp_path / "s", {"image": [*files[:2]], "label": [0, -1]}, features)
    with pytest.raises(DataError, match=r"row 1 of the split `train` of .* has no label"):
        read_dataset(source, seed=0)
    texts = saved(
        tmp_path / "t", {"text": ["x"], "label": ["y"]}, dict.fromkeys(("text", "label"), datasets.Value("string"))
    )
    with pytest.raises(DataError, match="has the columns `text`, `label`"):
        read_dataset(texts, seed=0)
