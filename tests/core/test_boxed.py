"""Photos with boxes are read alike from all three formats, and what is wrong in them is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.core.boxed_files import (
    NAMES,
    Photos,
    drawn_photos,
    voc_xml,
    write_coco,
    write_photo,
    write_voc,
    write_yolo,
)

from edgetl.errors import ConfigError, DataError
from edgetl.run import BoxRecord
from edgetl.tasks.boxed import BoxedPhotos, read_boxed, read_photos

WRITERS: dict[str, Callable[[Path, Photos], Path]] = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo}
PHOTOS = drawn_photos({"train": 3, "val": 2, "test": 2})
ONE: Photos = {"train": [[(0, 10, 10, 40, 50)]]}


def corners(found: BoxedPhotos) -> list[list[tuple[str, int, int, int, int]]]:
    """The objects of each photo with their class names, in whole pixels."""
    return [
        [(found.labels[b.label], round(b.left), round(b.top), round(b.right), round(b.bottom)) for b in photo.boxes]
        for photo in found.photos
    ]


@pytest.mark.parametrize("format", WRITERS)
def test_all_formats_give_the_same_boxes_in_the_same_splits(tmp_path: Path, format: str) -> None:
    found = read_photos(WRITERS[format](tmp_path, PHOTOS))
    by_split = {split: [o for o, p in zip(corners(found), found.photos, strict=True) if p.split == split]
                for split in PHOTOS}  # fmt: skip
    expected = {
        split: [[(NAMES[label], a, b, c, d) for label, a, b, c, d in objects] for objects in listed]
        for split, listed in PHOTOS.items()
    }
    assert by_split == expected
    assert found.labels == NAMES
    assert all(photo.size == (96, 64) and (tmp_path / photo.path).is_file() for photo in found.photos)
    assert "7 photos, 14 boxes" in found.notes[0]


@pytest.mark.parametrize("format", WRITERS)
def test_a_model_is_judged_by_the_test_photos(tmp_path: Path, format: str) -> None:
    source = WRITERS[format](tmp_path, PHOTOS)
    labelled = read_boxed(source, ("leaf", "brick"))
    assert [each.objects.boxes.shape for each in labelled if each.objects] == [(2, 4), (2, 4)]
    first = PHOTOS["test"][0][0]
    objects = labelled[0].objects
    assert objects is not None
    assert objects.classes[0] == 1 - first[0]  # the model's own order of the labels
    np.testing.assert_allclose(objects.boxes[0], first[1:], atol=0.01)
    with pytest.raises(DataError, match="has the class"):
        read_boxed(source, ("leaf", "stone"))


def test_a_format_can_be_forced_and_must_be_clear(tmp_path: Path) -> None:
    write_coco(tmp_path, ONE)
    (tmp_path / "classes.txt").write_text("brick\nleaf\n")
    with pytest.raises(DataError, match="could be coco or yolo"):
        read_photos(tmp_path)
    assert len(read_photos(tmp_path, format="coco").photos) == 1
    with pytest.raises(ConfigError, match="unknown format `voq`"):
        read_photos(tmp_path, format="voq")


def test_nothing_known_is_said_to_be_so(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png", [])
    with pytest.raises(DataError, match="no boxes in a known format"):
        read_photos(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read_photos(tmp_path / "nowhere")


def test_coco_in_its_own_folders(tmp_path: Path) -> None:
    write_coco(tmp_path, {"train": PHOTOS["train"], "val": PHOTOS["val"]})
    (tmp_path / "annotations").mkdir()
    for split in ("train", "val"):
        (tmp_path / split / "_annotations.coco.json").rename(tmp_path / "annotations" / f"instances_{split}2017.json")
        (tmp_path / split).rename(tmp_path / f"{split}2017")
    (tmp_path / "annotations" / "captions_train2017.json").write_text("{}")
    found = read_photos(tmp_path)
    assert [(photo.split, photo.path) for photo in found.photos][:2] == [
        ("train", "train2017/000.png"),
        ("train", "train2017/001.png"),
    ]
    assert len(found.photos) == 5


def test_coco_without_splits_and_with_an_unused_class(tmp_path: Path) -> None:
    write_coco(tmp_path, ONE)
    path = tmp_path / "train" / "_annotations.coco.json"
    document = json.loads(path.read_text())
    document["images"].append({"id": 5, "file_name": "empty.png"})
    write_photo(tmp_path / "train" / "empty.png", [])
    path.write_text(json.dumps(document))
    found = read_photos(tmp_path / "train")
    assert found.labels == ("brick",)
    assert [(photo.split, len(photo.boxes)) for photo in found.photos] == [(None, 1), (None, 0)]
    assert any("no box is of `leaf`" in note for note in found.notes)
    assert any("background" in note for note in found.notes)


def changed(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A data set of one photo whose COCO JSON was changed."""
    write_coco(tmp_path, ONE)
    path = tmp_path / "train" / "_annotations.coco.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return tmp_path


def box(values: list[float]) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["annotations"][0]["bbox"] = values

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (box([10, 10, 200, 20]), r"annotation 0: the box from \(10, 10\) to \(210, 30\) is outside the photo of 96"),
        (box([40, 10, -20, 20]), "inside out or empty"),
        (box([40, 10, 0, 20]), "inside out or empty"),
        (lambda document: document["annotations"][0].update(category_id=9), "annotation 0 has the category 9"),
        (lambda document: document["annotations"][0].update(image_id=9), "is of the image 9, which is not listed"),
        (lambda document: document["images"][0].update(file_name="gone.png"), "gone.png` does not exist"),
        (lambda document: document["images"][0].update(width=64, height=96), "96 × 64 pixels upright, not 64 × 96"),
        (lambda document: document["images"].append(dict(document["images"][0], id=7)), "is listed twice"),
        (lambda document: document.pop("images"), "is no COCO JSON"),
        (lambda document: document["annotations"][0].update(bbox=[1, 2, "x", 4]), "is no COCO JSON"),
        (lambda document: document["images"][0].update(file_name="../../train/000.png"), "does not exist|lies outside"),
        (lambda document: document.update(annotations=[]), "holds no boxes"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_coco_is_named(tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_photos(changed(tmp_path, change))


def test_a_photo_outside_the_folder_is_refused(tmp_path: Path) -> None:
    write_photo(tmp_path / "else" / "x.png", [])
    root = changed(tmp_path / "data", lambda document: document["images"][0].update(file_name="../../else/x.png"))
    with pytest.raises(DataError, match="lies outside"):
        read_photos(root)


def test_photos_may_be_links(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "data", ONE)
    photo = source / "train" / "000.png"
    photo.symlink_to(photo.rename(tmp_path / "kept-elsewhere.png"))
    assert read_photos(source).photos[0].path == "train/000.png"


def test_bad_boxes_can_be_left_out_and_small_overhangs_are_cut(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        first = document["annotations"][0]
        document["annotations"] = [
            {**first, "id": 1, "bbox": [-1.5, 10, 30, 20]},
            {**first, "id": 2, "bbox": [50, 50, 90, 90]},
            {**first, "id": 3, "bbox": [40, 10, 20, 20]},
            {**first, "id": 4, "bbox": [40, 10, 20, 20]},
            {**first, "id": 5, "bbox": [60, 10, 20, 20], "iscrowd": 1},
        ]

    source = changed(tmp_path, change)
    with pytest.raises(DataError, match=r"1 box cannot be used:\n.*annotation 2"):
        read_photos(source)
    found = read_photos(source, skip_bad_boxes=True)
    assert found.photos[0].boxes == (
        BoxRecord(label=0, left=0.0, top=10.0, right=28.5, bottom=30.0),
        BoxRecord(label=0, left=40.0, top=10.0, right=60.0, bottom=30.0),
        BoxRecord(label=0, left=60.0, top=10.0, right=80.0, bottom=30.0, ignored=True),
    )
    notes = "\n".join(found.notes)
    assert "1 box is a little beyond" in notes
    assert "1 box is listed twice" in notes
    assert "1 box is left out" in notes and "annotation 2" in notes


def test_voc_beside_its_photos_in_split_folders(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_photo(tmp_path / split / "a.png", [])
        (tmp_path / split / "a.xml").write_text(voc_xml("a.png", [(1, 1, 2, 30, 40)]))
    found = read_photos(tmp_path)
    assert [(photo.path, photo.split) for photo in found.photos] == [("train/a.png", "train"), ("valid/a.png", "val")]
    assert found.photos[0].boxes == (BoxRecord(label=0, left=1.0, top=2.0, right=30.0, bottom=40.0),)


def test_difficult_objects_are_to_be_ignored(tmp_path: Path) -> None:
    write_voc(tmp_path, ONE)
    path = tmp_path / "Annotations" / "train_000.xml"
    path.write_text(path.read_text().replace("<difficult>0", "<difficult>1"))
    assert read_photos(tmp_path).photos[0].boxes[0].ignored


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<annotation>", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>', "no plain list of boxes"),
        ("</annotation>", "", "is no XML"),
        ("<xmin>11", "<xmin>eleven", "object 1 has `eleven` as bndbox/xmin"),
        ("<xmin>11", "<xmin>nan", "object 1: the box from .nan"),
        ("<name>brick</name>", "", "object 1 has no name"),
    ],
)
def test_what_is_wrong_in_voc_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    write_voc(tmp_path, ONE)
    path = tmp_path / "Annotations" / "train_000.xml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        read_photos(tmp_path)


def test_image_sets_must_agree_with_the_annotations(tmp_path: Path) -> None:
    write_voc(tmp_path, {"train": ONE["train"], "test": ONE["train"]})
    lists = tmp_path / "ImageSets" / "Main"
    (lists / "test.txt").write_text("train_000")
    with pytest.raises(DataError, match="`train_000` is in two splits"):
        read_photos(tmp_path)
    (lists / "test.txt").write_text("nobody")
    with pytest.raises(DataError, match="`nobody` of ImageSets/Main"):
        read_photos(tmp_path)


@pytest.mark.parametrize(
    "description",
    [
        "train: ../train/images\nval: ../valid/images\n\nnc: 2\nnames: ['brick', \"leaf\"]\n",
        "path: .\ntrain: train/images\nval: valid/images\nnames:\n  0: brick\n  1: leaf\n",
        "train: train/images  # here\nval: valid/images\nnames:\n- brick\n- leaf\n",
    ],
)
def test_yolo_as_tools_export_it(tmp_path: Path, description: str) -> None:
    write_yolo(tmp_path, {"train": PHOTOS["train"], "valid": PHOTOS["val"]})
    for split in ("train", "valid"):
        for kind in ("images", "labels"):
            (tmp_path / split).mkdir(exist_ok=True)
            shutil.move(tmp_path / kind / split, tmp_path / split / kind)
    (tmp_path / "data.yaml").write_text(description)
    found = read_photos(tmp_path)
    assert found.labels == NAMES
    assert [photo.split for photo in found.photos] == ["train"] * 3 + ["val"] * 2
    assert sum(len(photo.boxes) for photo in found.photos) == 10


def test_yolo_with_a_list_of_classes_and_a_photo_without_text(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"": PHOTOS["train"]})
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "classes.txt").write_text("brick\nleaf\n")
    write_photo(tmp_path / "images" / "zebra.png", [])
    found = read_photos(tmp_path)
    assert [(photo.split, len(photo.boxes)) for photo in found.photos] == [(None, 2)] * 3 + [(None, 0)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.2 0.2", "line 1 of .*000.txt` has the class `2`"),
        ("-1 0.5 0.5 0.2 0.2", "has the class `-1`"),
        ("0 0.5 0.5 0.2", "has 4 numbers"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", "outlines of masks are not read"),
        ("0 a 0.5 0.2 0.2", "line 1 of .*000.txt` is `0 a"),
        ("0 1.5 0.5 0.2 0.2", "outside the photo"),
        ("0 nan 0.5 0.2 0.2", "numbers"),
    ],
)
def test_what_is_wrong_in_yolo_is_named(tmp_path: Path, line: str, message: str) -> None:
    write_yolo(tmp_path, ONE)
    (tmp_path / "labels" / "train" / "000.txt").write_text(line)
    with pytest.raises(DataError, match=message):
        read_photos(tmp_path)


def test_boxes_belong_to_the_upright_photo(tmp_path: Path) -> None:
    source = changed(tmp_path, lambda document: document["images"][0].update(file_name="turned.jpg"))
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (96, 64)).save(tmp_path / "train" / "turned.jpg", exif=exif)
    with pytest.raises(DataError, match="64 × 96 pixels upright, not 96 × 64"):
        read_photos(source)
