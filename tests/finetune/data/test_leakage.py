"""Images that stand on two sides are found, and only those."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.cache import cache_directory
from edgetl.finetune.data.dataset import Dataset, read_dataset
from edgetl.finetune.data.leakage import find_leaks
from edgetl.finetune.data.looks import look, nearest


def photo(path: Path, seed: int) -> Path:
    """Smooth random shapes, as different from one another as photos are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    Image.fromarray(coarse).resize((120, 90), Image.Resampling.BICUBIC).save(path, quality=95)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i in range(24):
        photo(tmp_path / ("train" if i % 3 else "val") / ("ants", "bees")[i % 2] / f"{i:02}.jpg", i)
    return tmp_path


def read(root: Path) -> Dataset:
    return read_dataset(root, seed=0)


def test_clean_data_say_nothing(root: Path) -> None:
    leaks = find_leaks(read(root))
    assert leaks.lines() == [] and leaks.images == 24 and leaks.near_searched


def test_equal_files_are_counted_and_named(root: Path) -> None:
    shutil.copy(root / "train/ants/02.jpg", root / "val/ants/copy.jpg")
    shutil.copy(root / "train/ants/02.jpg", root / "val/ants/more.jpg")
    leaks = find_leaks(read(root))
    assert [(o.split, o.other, o.images) for o in leaks.exact] == [("val", "train", 2)] and leaks.near == ()
    assert leaks.lines() == ["2 images of val are also in train (`val/ants/copy.jpg` = `train/ants/02.jpg`)"]


def test_a_smaller_and_coarser_copy_is_nearly_the_same(root: Path) -> None:
    with Image.open(root / "train/ants/04.jpg") as image:
        image.resize((60, 45)).save(root / "val/ants/small.jpg", quality=60)
    (overlap,) = find_leaks(read(root)).near
    assert overlap.images == 1 and overlap.examples[0].second == "train/ants/04.jpg"
    assert 0 <= overlap.examples[0].distance <= 4


def test_one_content_under_two_labels(root: Path) -> None:
    shutil.copy(root / "train/ants/02.jpg", root / "train/bees/copy.jpg")
    leaks = find_leaks(read(root))
    assert leaks.exact == () and leaks.contradicting == 2
    assert leaks.lines() == ["2 images are also under another label (`train/ants/02.jpg` = `train/bees/copy.jpg`)"]


def test_flat_and_broken_images_look_like_nothing(root: Path) -> None:
    for split in ("train", "val"):
        for colour in (10, 200):
            Image.new("RGB", (80, 60), (colour + (split == "val"),) * 3).save(root / split / "ants" / f"{colour}.png")
    (root / "val/ants/broken.jpg").write_bytes(b"none")
    assert find_leaks(read(root)).lines() == [] and look(root / "val/ants/broken.jpg") is None


def test_above_the_limit_only_equal_files_are_sought(root: Path) -> None:
    leaks = find_leaks(read(root), limit=10)
    assert not leaks.near_searched and "24 images are more than 10" in leaks.lines()[0]


def test_a_group_on_two_sides(tmp_path: Path) -> None:
    rows = ["path,label,split,group"]
    for i in range(12):
        photo(tmp_path / f"{i}.jpg", i)
        rows.append(f"{i}.jpg,{'ab'[i % 2]},{'val' if i > 7 else 'train'},p{i % 9}")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    (shared,) = find_leaks(read_dataset(tmp_path / "m.csv", seed=0)).groups
    assert (shared.groups, shared.images, shared.examples) == (3, 3, ("p0", "p1", "p2"))


def test_a_damaged_cache_is_computed_again(root: Path) -> None:
    before = find_leaks(read(root))
    (cache_directory("phash") / "looks.npz").write_bytes(b"PK no zip")
    assert find_leaks(read(root)) == before


def test_the_nearest_is_what_comparing_all_pairs_finds() -> None:
    rng = np.random.default_rng(0)
    against = rng.integers(0, 2**64, 200, np.uint64)
    flips = [sum(1 << int(b) for b in rng.choice(64, i % 8, replace=False)) for i in range(150)]
    judged = against[rng.integers(0, 200, 150)] ^ np.array(flips, np.uint64)
    every = np.array([[bin(int(a) ^ int(b)).count("1") for b in against] for a in judged])
    found = nearest(judged, against)
    expected = np.where(every.min(1) <= 4, every.min(1), 255)
    assert found.distance.tolist() == expected.tolist()
    hit = expected < 255
    assert np.array_equal(every[np.arange(150), found.partner][hit], expected[hit])
    assert nearest(judged, against[:0]).distance.tolist() == [255] * 150
