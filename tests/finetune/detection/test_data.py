"""Photos with boxes as a data set: splits, labels of photos, the input's shape."""

from pathlib import Path

import pytest
from tests.core.boxed_files import Photos, drawn_photos, write_coco, write_yolo

from edgetl.errors import DataError
from edgetl.finetune.detection.data import BoxedDataset, input_of, most_frequent, read_boxed_dataset
from edgetl.run import BoxRecord


def read(source: Path, seed: int = 0) -> BoxedDataset:
    return read_boxed_dataset(source, seed=seed, format="auto", skip_bad_boxes=False, labels=None)


def test_a_missing_val_is_split_from_train(tmp_path: Path) -> None:
    found = read(write_coco(tmp_path, drawn_photos({"train": 20, "test": 3})))
    counts = {split: len(found.dataset.split(split)) for split in ("train", "val", "test")}
    assert counts["test"] == 3
    assert counts["train"] + counts["val"] == 20
    assert 3 <= counts["val"] <= 5
    assert found.dataset.split_from_train == ("val",)
    again = read(tmp_path)
    assert again.dataset.record().fingerprint == found.dataset.record().fingerprint
    assert read(tmp_path, seed=1).dataset.record().fingerprint != found.dataset.record().fingerprint


def test_boxes_follow_their_photos(tmp_path: Path) -> None:
    photos = drawn_photos({"train": 6, "val": 4})
    found = read(write_yolo(tmp_path, photos))
    for sample, boxes in zip(found.dataset.samples, found.boxes(found.dataset.samples), strict=True):
        objects = photos[sample.split][int(Path(sample.path).stem)]
        assert [(b.label, round(b.left), round(b.bottom)) for b in boxes] == [(o[0], o[1], o[4]) for o in objects]
        assert sample.label == most_frequent(boxes)


def test_the_label_of_a_photo_is_its_most_frequent() -> None:
    boxes = [BoxRecord(label=label, left=0, top=0, right=1, bottom=1) for label in (2, 1, 1, 2, 0)]
    assert most_frequent(boxes) == 1
    assert most_frequent(()) == 0


def test_a_class_without_train_boxes_is_refused(tmp_path: Path) -> None:
    photos: Photos = {"train": [[(0, 5, 5, 30, 30)]] * 3, "val": [[(1, 5, 5, 30, 30)]]}
    with pytest.raises(DataError, match="the class `leaf` has no train boxes"):
        read(write_coco(tmp_path, photos))


@pytest.mark.parametrize(
    ("sizes", "side", "expected"),
    [
        ([(640, 480)] * 3, 320, (256, 320)),
        ([(480, 640)] * 3, 320, (320, 256)),
        ([(500, 500)], 300, (288, 288)),
        ([(1000, 100)], 640, (64, 640)),
        ([(640, 480), (480, 640), (640, 480)], 416, (320, 416)),
    ],
)
def test_the_input_has_the_photos_proportions(
    sizes: list[tuple[int, int]], side: int, expected: tuple[int, int]
) -> None:
    found = input_of(sizes, side)
    assert (found.height, found.width) == expected
    assert found.mode == "letterbox"
