from pathlib import Path

import pytest
from PIL import Image

from edgetl.bundle import open_bundle
from edgetl.devices.remote.sending import SIGNATURE, parcel, pieces
from edgetl.errors import DataError
from edgetl.tasks.labelled import read_labelled


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (len(path.name), 0, 0)).save(path)
    return path


def paths(folder: Path) -> list[str]:
    return sorted(entry.path for entry in parcel(folder).place.entries)


def test_of_a_bundle_goes_what_the_manifest_lists(own_bundle: Path) -> None:
    (own_bundle / "measurements.json").write_text("{}")
    (own_bundle / "plans").mkdir()
    (own_bundle / SIGNATURE).write_text("signed")
    listed = [record.path for record in open_bundle(own_bundle).manifest.files]
    assert paths(own_bundle) == sorted([*listed, "manifest.json", SIGNATURE])


def test_of_a_folder_go_the_images(tmp_path: Path) -> None:
    image(tmp_path / "data" / "bees" / "1.png")
    image(tmp_path / "data" / ".hidden" / "2.png")
    image(tmp_path / "elsewhere" / "3.png")
    (tmp_path / "data" / "notes.txt").write_text("x")
    (tmp_path / "data" / "ants").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "bees" / "round").symlink_to(tmp_path / "data")
    assert paths(tmp_path / "data") == ["ants/3.png", "bees/1.png"]


def test_links_that_lead_to_each_other_are_not_walked_around(tmp_path: Path) -> None:
    image(tmp_path / "data" / "ants" / "1.png")
    image(tmp_path / "data" / "bees" / "2.png")
    for number in range(3):
        (tmp_path / "data" / "ants" / f"link{number}").symlink_to(tmp_path / "data" / "bees")
        (tmp_path / "data" / "bees" / f"link{number}").symlink_to(tmp_path / "data" / "ants")
    assert paths(tmp_path / "data") == ["ants/1.png", "bees/2.png"], "what a check here would read"


def test_a_list_takes_its_images_along(tmp_path: Path) -> None:
    here, outside = image(tmp_path / "lists" / "a,b.png"), image(tmp_path / "other" / "c.png")
    listed = tmp_path / "lists" / "list.csv"
    listed.write_text(f'path,label,group\n"{here.name}", bees ,g1\n{outside},ants,\nmissing.png,ants,\n')
    sent = parcel(listed)
    assert sent.place.opened == "list.csv"
    laid_out = tmp_path / "device"
    for entry in sent.place.entries:
        path = laid_out / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(piece for _, piece in pieces(sent.contents[entry.sha256], 0, entry.size)))
    found = read_labelled(laid_out / "list.csv", ("ants", "bees"))
    assert [(each.label, each.group) for each in found] == [(1, "g1"), (0, ""), (0, "")]
    assert [Path(each.sample).is_file() for each in found] == [True, True, False]
    assert Path(found[1].sample).read_bytes() == outside.read_bytes()


def test_what_is_not_there_cannot_be_sent(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        parcel(tmp_path / "nothing")


def test_a_file_that_shrinks_meanwhile_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert list(pieces(tmp_path / "file", 2, 5)) == [(2, b"345")]
    assert list(pieces(tmp_path / "file", 5, 5)) == [(5, b"")]
    with pytest.raises(DataError, match="changed"):
        list(pieces(tmp_path / "file", 0, 6))


def test_of_photos_with_boxes_the_annotations_go_too(tmp_path: Path) -> None:
    (tmp_path / "d" / "Annotations").mkdir(parents=True)
    (tmp_path / "d" / "JPEGImages").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "d" / "JPEGImages" / "1.jpg")
    (tmp_path / "d" / "Annotations" / "1.xml").write_text("<annotation><filename>1.jpg</filename></annotation>")
    (tmp_path / "d" / "secret.key").write_text("no")
    assert [each.path for each in parcel(tmp_path / "d").place.entries] == ["Annotations/1.xml", "JPEGImages/1.jpg"]
