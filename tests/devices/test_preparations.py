"""Which wrong preparation explains pixels that are not the expected ones."""

import io

import numpy as np
import pytest
from PIL import Image

from edgetl.devices.preparations import explanation, right_preparation, wrong_preparations
from edgetl.export.samples.photos import probes
from edgetl.tasks import ImageClassification
from edgetl.tasks.images import ImageInput

SPEC = ImageInput(height=24, width=24, resize=28)
WRONG = [name for name in wrong_preparations(SPEC) if name != "EXIF orientation ignored"]


def photos(count: int = 3) -> list[bytes]:
    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(count):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (50, 80, 3), dtype=np.uint8)).resize((160, 100)).save(stream, "PNG")
        encoded.append(stream.getvalue())
    return encoded


@pytest.mark.parametrize("fault", WRONG)
def test_a_device_that_prepares_wrongly_is_told_how(fault: str) -> None:
    encoded, right, wrong = photos(), right_preparation(SPEC), wrong_preparations(SPEC)[fault]
    found, expected = np.stack([wrong(each) for each in encoded]), np.stack([right(each) for each in encoded])
    assert explanation(encoded, found, expected, SPEC) == fault
    assert explanation(encoded, expected, found, SPEC) == fault, "and the other way round: the bundle was made wrongly"


def test_ignored_orientation_shows_in_the_probes_though_no_photo_is_turned() -> None:
    task = ImageClassification(labels=("a", "b"), input=SPEC)
    encoded = [content for _, content in probes(task, task.prepare)]
    expected = task.preprocess(encoded)["image"]
    ignoring = wrong_preparations(SPEC)["EXIF orientation ignored"]
    found = np.stack([ignoring(content) for content in encoded])
    assert (found != expected).any()
    assert explanation(encoded, found, expected, SPEC) == "EXIF orientation ignored"


def test_what_no_known_fault_explains_stays_unexplained() -> None:
    encoded, right = photos(), right_preparation(SPEC)
    expected = np.stack([right(each) for each in encoded])
    assert explanation(encoded, 255 - expected, expected, SPEC) is None
