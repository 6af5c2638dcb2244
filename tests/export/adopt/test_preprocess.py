"""What a preprocess.toml says, in the model's own terms, and what edgetl's tasks make of it."""

from pathlib import Path

import numpy as np
import pytest

from edgetl.errors import ConfigError
from edgetl.export.adopt.preprocess import PRESETS, read_image_preprocess, read_text_preprocess
from edgetl.tasks.normalisation import normalisation


def written(folder: Path, text: str) -> Path:
    (folder / "preprocess.toml").write_text(text)
    return folder / "preprocess.toml"


def test_a_preset_is_filled_in_and_what_is_said_wins(tmp_path: Path) -> None:
    read = read_image_preprocess(written(tmp_path, 'preset = "imagenet"\nsize = 192\nresize = 200\n'))
    assert (read.input.height, read.input.width, read.input.resize, read.input.mode) == (192, 192, 200, "crop")
    assert read.mean == (0.485, 0.456, 0.406) and read.scale == 255


@pytest.mark.parametrize("preset", PRESETS)
def test_the_tasks_normalisation_does_what_the_preset_says(preset: str, tmp_path: Path) -> None:
    read = read_image_preprocess(written(tmp_path, f'preset = "{preset}"\n'))
    right = normalisation(*read.rgb())
    pixel = np.array([200.0, 30.0, 90.0])  # red, green, blue
    theirs = pixel[::-1] if read.color == "bgr" else pixel
    wanted = (theirs / read.scale - np.array(read.mean)) / np.array(read.std)
    ours = pixel * np.array(right.scale) + np.array(right.shift)
    assert np.allclose(ours[::-1] if read.color == "bgr" else ours, wanted, atol=1e-9)


def test_keras_means_come_in_the_order_blue_green_red(tmp_path: Path) -> None:
    mean, std = read_image_preprocess(written(tmp_path, 'preset = "keras-caffe"\n')).rgb()
    assert np.allclose(np.array(mean) * 255, (123.68, 116.779, 103.939)) and np.allclose(std, 1 / 255)


def test_a_size_may_have_two_sides(tmp_path: Path) -> None:
    read = read_image_preprocess(written(tmp_path, 'size = [96, 160]\nmode = "letterbox"\n'))
    assert (read.input.height, read.input.width) == (96, 160)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sise = 224\n", "did you mean `size`?"),
        ('preset = "imagenet"\ncolour = "bgr"\n', "did you mean `color`?"),
        ('preset = "imagnet"\n', "imagnet"),
        ("size = 224\nstd = [1, 1, 0]\n", "`std` must be positive"),
        ("size = 224\nmean = [0.5]\n", "mean"),
        ("size = 224\nscale = inf\n", "positive"),
        ('preset = "yolo"\nmode = "pad"\n', "pad"),
    ],
)
def test_a_mistake_is_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_image_preprocess(written(tmp_path, text))
    assert words in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [('mode = "crop"\n', "names no `size`"), ("size = 9999\n", "4096")])
def test_a_size_that_cannot_be_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        _ = read_image_preprocess(written(tmp_path, text)).input


def test_the_tokeniser_lies_beside_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"vocab\.json` does not exist"):
        read_text_preprocess(written(tmp_path, 'tokenizer = "vocab.json"\nmax_length = 64\n'))
    (tmp_path / "vocab.json").write_text("{}")
    read = read_text_preprocess(tmp_path / "preprocess.toml")
    assert read.tokenizer == str(tmp_path / "vocab.json") and read.ids == "input_ids"
