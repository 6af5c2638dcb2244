"""Images of every kind become the same upright 8-bit RGB, and broken ones a clear error."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.errors import DataError
from edgetl.tasks import ImageClassification
from edgetl.tasks.images import MAX_PIXELS, ImageInput, crop_box, decode, prepare
from edgetl.tasks.loading import AHEAD, prepare_files

SQUARE = ImageInput(height=8, width=8, resize=8)
RED = (200, 40, 40)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def pixel(content: bytes) -> tuple[int, ...]:
    return tuple(int(value) for value in prepare(content, SQUARE)[4, 4])


def test_grey_becomes_three_equal_channels() -> None:
    assert pixel(encoded(Image.new("L", (16, 16), 77))) == (77, 77, 77)


def test_sixteen_bit_grey_is_scaled() -> None:
    grey = Image.fromarray(np.full((16, 16), 77 * 257, np.uint16))
    assert pixel(encoded(grey)) == (77, 77, 77)
    assert pixel(encoded(grey, "TIFF")) == (77, 77, 77)


def test_transparent_becomes_white_whatever_colour_hides_there() -> None:
    assert pixel(encoded(Image.new("RGBA", (16, 16), (*RED, 0)))) == (255, 255, 255)
    assert pixel(encoded(Image.new("RGBA", (16, 16), (*RED, 255)))) == RED
    assert pixel(encoded(Image.new("LA", (16, 16), (10, 0)))) == (255, 255, 255)
    palette = Image.new("P", (16, 16), 0)
    palette.putpalette([200, 40, 40, 0, 0, 0])
    assert pixel(encoded(palette, transparency=0)) == (255, 255, 255)
    assert pixel(encoded(palette)) == RED


def test_cmyk_is_converted() -> None:
    assert np.allclose(pixel(encoded(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG")), 255, atol=2)


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, (0, 0, 255))]
    assert np.allclose(pixel(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])), RED, atol=3)


def test_exif_rotation_is_applied() -> None:
    image = Image.new("RGB", (32, 32), RED)
    image.paste((0, 0, 255), (0, 0, 32, 8))
    exif = Image.Exif()
    exif[274] = 6  # the camera was held a quarter turn clockwise
    turned = prepare(encoded(image, "PNG", exif=exif), SQUARE)
    assert tuple(turned[4, 7]) == (0, 0, 255) and tuple(turned[0, 3]) == RED


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 2)])
def test_extreme_shapes_are_prepared(size: tuple[int, int]) -> None:
    assert prepare(encoded(Image.new("RGB", size, RED)), SQUARE).shape == (8, 8, 3)


def test_the_geometry_is_torchvisions() -> None:
    """Resize(256) + CenterCrop(224) of a 640 × 480 photo: 341 × 256, then 58 and 16 pixels cut on the left and top."""
    spec = ImageInput(height=224, width=224, resize=256)
    left, top, right, bottom = crop_box((640, 480), spec)
    assert (left, top) == pytest.approx((58 * 640 / 341, 16 * 480 / 256))
    assert (right, bottom) == pytest.approx(((58 + 224) * 640 / 341, (16 + 224) * 480 / 256))


def test_resize_and_crop_in_one_step_equals_the_two_steps() -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)).resize((360, 240))
    two = image.resize((int(32 * 360 / 240), 32), Image.Resampling.BILINEAR).crop((10, 2, 38, 30))
    one = prepare(image, ImageInput(height=28, width=28, resize=32))
    assert np.abs(one.astype(int) - np.asarray(two)).max() <= 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image at all",
        encoded(Image.new("RGB", (64, 64), RED), "JPEG")[:300],
        b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
    ],
)
def test_broken_images_are_data_errors(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be decoded"):
        decode(content)
    (tmp_path / "broken.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.jpg"):
        decode(tmp_path / "broken.jpg")


def test_an_image_bomb_is_refused_before_it_is_decoded() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    header = encoded(Image.new("1", (side, side)))
    with pytest.raises(DataError, match="pixels are more than"), pytest.warns(Image.DecompressionBombWarning):
        decode(header)


def test_formats_that_run_programs_are_not_opened() -> None:
    with pytest.raises(DataError):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")


def test_arrays_in_either_channel_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    task = ImageClassification(labels=("a", "b"), input=SQUARE)
    from_rgb = task.preprocess([rgb])["image"]
    assert np.array_equal(from_rgb, task.preprocess([rgb[..., ::-1]], color="bgr")["image"])
    Image.fromarray(rgb).save(tmp_path / "a.png")
    assert np.array_equal(from_rgb, task.preprocess([tmp_path / "a.png"])["image"])
    with pytest.raises(DataError, match="must be uint8"):
        task.preprocess([rgb.astype(np.float32)])


def test_many_files_come_in_order_and_errors_in_their_place(tmp_path: Path) -> None:
    paths = []
    for i in range(AHEAD + 10):
        paths.append(tmp_path / f"{i}.png")
        Image.new("L", (8, 8), i).save(paths[-1])
    paths[5].write_bytes(b"broken")
    values = list(prepare_files(paths, SQUARE))
    assert isinstance(values[5], DataError)
    assert [v[0, 0, 0] for v in values if not isinstance(v, DataError)] == [i for i in range(len(paths)) if i != 5]
