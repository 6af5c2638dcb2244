"""Random views are random between images and epochs, and the same again for the same seed."""

import numpy as np
import pytest

from edgetl.finetune.training.augment import Augment, augmented

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["shift", "crop-flip"])
def test_views_follow_seed_epoch_and_image_alone(kind: Augment) -> None:
    view = augmented(IMAGE, kind, 1, 2, b"a" * 32)
    assert view.shape == IMAGE.shape and view.dtype == np.uint8
    assert np.array_equal(view, augmented(IMAGE, kind, 1, 2, b"a" * 32))
    others = [augmented(IMAGE, kind, *key) for key in ((2, 2, b"a" * 32), (1, 3, b"a" * 32), (1, 2, b"b" * 32))]
    assert all(not np.array_equal(view, other) for other in others)


def test_a_crop_shows_the_image_and_half_of_them_are_flipped() -> None:
    """A picture whose columns rise from left to right falls after a flip."""
    ramp = np.broadcast_to(np.arange(48, dtype=np.uint8)[None, :, None] * 5, (40, 48, 3)).copy()
    views = [augmented(ramp, "crop-flip", 0, epoch, b"x" * 32)[20, :, 0].astype(int) for epoch in range(200)]
    falling = sum(view[0] > view[-1] for view in views)
    assert 70 < falling < 130
    assert all(np.abs(np.diff(np.sort(view))).max() <= 6 for view in views)


def test_none_is_the_image_itself() -> None:
    assert augmented(IMAGE, "none", 0, 1, b"a" * 32) is IMAGE
