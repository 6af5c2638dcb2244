"""Which samples are golden and which calibrate: never the same ones, and never too few to say anything."""

import shutil
from pathlib import Path

import pytest
from PIL import Image
from tests.export.adopt.files import LABELS, photos

from edgetl.errors import DataError
from edgetl.export.adopt.samples import Samples, gather
from edgetl.tasks import ImageClassification
from edgetl.tasks.images import ImageInput

TASK = ImageClassification(labels=LABELS, input=ImageInput(height=32, width=32, resize=32))


def parts(samples: Samples) -> tuple[set[str], set[str]]:
    golden, calibration = ({r.sha256 for r in samples.records if r.split == split} for split in ("val", "train"))
    return golden, calibration


def test_a_third_of_the_golden_samples_calibrates_and_is_golden_no_more(tmp_path: Path) -> None:
    samples = gather(TASK, photos(tmp_path / "photos"), None, unlabelled=False, seed=0)
    golden, calibration = parts(samples)
    assert (len(golden), len(calibration)) == (12, 6) and not golden & calibration
    assert {record.label for record in samples.records if record.split == "train"} == {0, 1, 2}
    again = gather(TASK, tmp_path / "photos", None, unlabelled=False, seed=0)
    assert again.fingerprint() == samples.fingerprint()
    assert gather(TASK, tmp_path / "photos", None, unlabelled=False, seed=1).fingerprint() != samples.fingerprint()


def test_samples_of_another_place_calibrate_unless_they_are_golden(tmp_path: Path) -> None:
    golden = photos(tmp_path / "golden", 4)
    others = Path(shutil.copytree(golden, tmp_path / "others"))
    for i in range(5):
        Image.new("RGB", (40, 36), (i, 90, 200)).save(others / "slate" / f"plain{i}.png")
    samples = gather(TASK, golden, others, unlabelled=False, seed=0)
    assert [len(part) for part in parts(samples)] == [12, 5]
    with pytest.raises(DataError, match="no sample that is not golden"):
        gather(TASK, golden, Path(shutil.copytree(golden, tmp_path / "copy")), unlabelled=False, seed=0)


def test_too_few_samples_are_refused(tmp_path: Path) -> None:
    few = photos(tmp_path / "few", 2)
    with pytest.raises(DataError, match="holds 6 samples, fewer than 12"):
        gather(TASK, few, None, unlabelled=False, seed=0)
    with pytest.raises(DataError, match="holds 6 samples, fewer than 8"):
        gather(TASK, few, photos(tmp_path / "others", 6), unlabelled=False, seed=0)


def test_the_same_photo_twice_is_one_sample(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    shutil.copy(folder / "moss" / "moss0.png", folder / "moss" / "again.png")
    assert len(gather(TASK, folder, None, unlabelled=False, seed=0).records) == 18


def test_photos_nobody_labelled_must_be_called_so(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", labelled=False)
    with pytest.raises(DataError) as caught:
        gather(TASK, folder, None, unlabelled=False, seed=0)
    assert "`--unlabelled`" in str(caught.value)
    assert len(gather(TASK, folder, None, unlabelled=True, seed=0).records) == 18
