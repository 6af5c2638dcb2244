"""Random views keep boxes on their objects, and evaluation's letterbox."""

from pathlib import Path

import numpy as np
import pytest
from tests.core.boxed_files import COLOURS, drawn_photos, write_coco

from edgetl.finetune.cache.pictures import decode_once
from edgetl.finetune.cache.room import open_cache
from edgetl.finetune.detection.config import Augment
from edgetl.finetune.detection.data import read_boxed_dataset
from edgetl.finetune.detection.views import Views, canvas_of
from edgetl.tasks.detections import in_input
from edgetl.tasks.images import ImageInput, prepare
from edgetl.types import silent

INPUT = ImageInput(height=128, width=128, resize=128, mode="letterbox")


def views(folder: Path, augment: Augment) -> Views:
    data = read_boxed_dataset(
        write_coco(folder, drawn_photos({"train": 8, "val": 2})),
        seed=0,
        format="auto",
        skip_bad_boxes=False,
        labels=None,
    )
    train = data.dataset.split("train")
    pictures, bad = decode_once(train, folder, canvas_of(INPUT), open_cache(), silent)
    assert not bad
    return Views(
        pictures=pictures, sizes=data.sizes(train), boxes=data.boxes(train), input=INPUT, augment=augment, seed=3
    )


@pytest.mark.parametrize("augment", ["none", "flip", "zoom-crop", "top-down"])
def test_boxes_stay_on_their_objects(tmp_path: Path, augment: Augment) -> None:
    """The middle of every box has its class's colour: nearer to it than to the other, whatever the light."""
    found, compared = views(tmp_path, augment), 0
    for epoch in range(2):
        pixels, targets = found.read(np.arange(8), epoch)
        assert pixels.shape == (8, 128, 128, 3) and pixels.dtype == np.uint8
        for image, target in zip(pixels, targets, strict=True):
            for (left, top, right, bottom), label in zip(
                target["boxes"].tolist(), target["labels"].tolist(), strict=True
            ):
                assert 0 <= left < right <= 128 and 0 <= top < bottom <= 128
                if min(right - left, bottom - top) < 6:
                    continue
                red, green, _ = image[int(top + bottom) // 2, int(left + right) // 2].astype(int)
                assert (red > green) == (COLOURS[label][0] > COLOURS[label][1])
                compared += 1
    assert compared > 15


def test_a_view_belongs_to_its_seed_epoch_and_photo(tmp_path: Path) -> None:
    found = views(tmp_path, "zoom-crop")
    together, _ = found.read(np.arange(8), 1)
    alone, targets = found.read(np.array([5]), 1)
    np.testing.assert_array_equal(alone[0], together[5])
    again, same = found.read(np.array([5]), 1)
    np.testing.assert_array_equal(again, alone)
    assert same[0]["boxes"].tolist() == targets[0]["boxes"].tolist()
    other, _ = found.read(np.arange(8), 2)
    assert (other != together).any()


def test_the_plain_view_is_what_evaluation_sees(tmp_path: Path) -> None:
    """Resized twice instead of once: the same place to a fraction of a pixel, and nearly the same colours."""
    found = views(tmp_path, "none")
    pixels, targets = found.read(np.arange(8), 0)
    for i in range(8):
        expected = prepare(tmp_path / found.pictures.samples.path(i), INPUT)
        assert np.abs(pixels[i].astype(int) - expected).mean() < 3
        boxes = np.array([[b.left, b.top, b.right, b.bottom] for b in found.boxes[i]])
        np.testing.assert_allclose(targets[i]["boxes"].numpy(), in_input(boxes, (96, 64), INPUT), atol=0.7)
