"""The detection stage: from photos with boxes to a run that export can rebuild."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import Cli
from tests.core.boxed_files import Photos, drawn_photos, write_coco, write_photo
from tests.finetune.detection.conftest import LOOP, tiny
from tests.finetune.detection.models.test_source import folder_of

from edgetl.errors import ArtefactError, ConfigError, DataError
from edgetl.files import read_toml
from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.detection.data import read_boxed_dataset
from edgetl.finetune.detection.models.graph import open_detector
from edgetl.finetune.detection.stage import finetune
from edgetl.finetune.detection.workshop import pools
from edgetl.finetune.training.checkpoint import Epoch
from edgetl.run import boxes, open_run
from edgetl.tasks.object_detection import ObjectDetection


class Interrupted(Exception):
    """A training that is ended from outside."""


def test_a_run_is_whole_and_can_be_rebuilt(detection_run: Path) -> None:
    run, task, samples = open_run(detection_run)
    assert isinstance(task, ObjectDetection)
    assert run.backbone == "ssdlite:residual_cnn"
    assert (run.headline, run.metric, run.strategy) == ("test", "map50", "from-scratch")
    assert set(run.metrics) == {"map50", "map"}
    assert {"detector.json", "boxes.json", "task.json", "weights.safetensors"} <= set(run.files)
    assert (task.input.height, task.input.width, task.labels) == (64, 96, ("brick", "leaf"))
    assert [len(each) for each in boxes(detection_run)] == [2] * len(samples)
    detector = open_detector(detection_run, run, task)
    with torch.inference_mode():
        places, scores = detector.decode(torch.zeros(1, 3, 64, 96))
    assert places.shape[2] == 4 and scores.shape[1:] == (places.shape[1], 2)


def test_a_damaged_list_of_boxes_is_noticed(detection_run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(detection_run, tmp_path / "copy"))
    (copy / "boxes.json").write_text("[]")
    with pytest.raises(ArtefactError, match=r"boxes\.json` is not what run\.json says"):
        open_run(copy)


def test_the_report_shows_classes_curves_and_photos(detection_run: Path) -> None:
    page = (detection_run / "report.html").read_text()
    for words in ("mAP50", "brick", "Precision and recall", "Photos that went worst", "objects,"):
        assert words in page
    assert page.count('src="data:image/jpeg') == 4


@pytest.mark.slow
def test_the_same_config_does_the_same_again(detection_run: Path, tmp_path: Path) -> None:
    config = read_toml(detection_run / "config.toml", FinetuneConfig)
    assert config.strategy == "from-scratch"
    finetune(config, tmp_path / "again")
    first, second = (json.loads((path / "run.json").read_text()) for path in (detection_run, tmp_path / "again"))
    assert first["files"] == second["files"]
    assert first["metrics"] == second["metrics"]


def test_an_interrupted_training_ends_as_if_it_had_not_been(detection_run: Path, blocks: Path, tmp_path: Path) -> None:
    """The first judged epoch is the best so far, and so is saved."""

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 1:
            raise Interrupted

    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        finetune(tiny(blocks), out, observe=stop)
    assert not out.exists()
    with pytest.raises(ConfigError, match="an unfinished run"):
        finetune(tiny(blocks), out)
    with pytest.raises(ConfigError, match="the unfinished run has `seed` = `0`, now it is `1`"):
        finetune(tiny(blocks, seed=1), out, resume=True)
    finetune(tiny(blocks), out, resume=True)
    once, twice = (json.loads((path / "run.json").read_text())["files"] for path in (detection_run, out))
    assert once["weights.safetensors"] == twice["weights.safetensors"]


def test_a_detector_is_judged_as_it_is_on_other_photos(detection_run: Path, tmp_path: Path) -> None:
    other = write_coco(tmp_path / "other", drawn_photos({"train": 3, "test": 5}, seed=9))
    result = finetune(tiny(other, strategy="none", weights=str(detection_run), size=None, loop={}), tmp_path / "judged")
    assert (result.epochs, result.samples, result.strategy) == (0, 5, "none")
    run, task, _ = open_run(tmp_path / "judged")
    before = open_run(detection_run)[1]
    assert task == before
    assert run.files["weights.safetensors"] == open_run(detection_run)[0].files["weights.safetensors"]


def test_a_detector_learns_on(detection_run: Path, blocks: Path, tmp_path: Path) -> None:
    config = tiny(blocks, weights=str(detection_run), size=None, loop={**LOOP, "epochs": 1, "freeze": 1.0})
    assert finetune(config, tmp_path / "run").strategy == "fine-tune"
    first, second = (open_run(path)[:2] for path in (detection_run, tmp_path / "run"))
    task = first[1]
    assert isinstance(task, ObjectDetection)
    before, after = (
        open_detector(path, run, task) for path, run in ((detection_run, first[0]), (tmp_path / "run", second[0]))
    )
    frozen = {name: value for name, value in before.body.state_dict().items() if value.is_floating_point()}
    for name, value in after.body.state_dict().items():
        if name in frozen:
            assert torch.equal(value, frozen[name]), name
    assert any(not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loop": {"mixup": 0.2}}, "`mixup` means nothing for detection"),
        ({"loop": {"freeze": "half"}}, "`freeze` cannot be `half`"),
        ({"loop": {"epochs": 0}}, "`epochs` is 0"),
        ({"loop": {"augment": "crop-flip"}}, "`augment` cannot be `crop-flip`"),
        ({"strategy": "progressive"}, "detection has no strategy `progressive`"),
        ({"strategy": "none", "loop": {}}, "needs a detector"),
        ({"detector": "ssd"}, "unknown detector `ssd`"),
        ({"labels": "labels.txt"}, "`--labels` means nothing for detection"),
        ({"compare_scratch": True}, "not for detection"),
        ({"format": "pascal"}, "unknown format `pascal`"),
        ({"strategy": "from-scratch", "weights": "some.safetensors"}, "takes no `--weights`"),
    ],
)
def test_what_means_nothing_is_refused(blocks: Path, tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        finetune(tiny(blocks, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("counts", "learned", "held"),
    [
        ({"train": 30, "val": 20, "test": 2}, 30, 20),
        ({"train": 30, "val": 19, "test": 2}, 30, 0),
        ({"train": 140, "val": 5}, 119, 21),
        ({"train": 100, "val": 5}, 100, 0),
    ],
)
def test_what_chooses_is_never_the_headline(tmp_path: Path, counts: dict[str, int], learned: int, held: int) -> None:
    data = read_boxed_dataset(
        write_coco(tmp_path, drawn_photos(counts)), seed=0, format="auto", skip_bad_boxes=False, labels=None
    )
    fit, aside = pools(data, 0.15, seed=0)
    assert (len(fit), 0 if aside is None else len(aside)) == (learned, held)
    paths = {*fit.paths(), *(aside.paths() if aside is not None else ())}
    assert not paths & set(data.dataset.split(data.dataset.headline).paths())


def test_a_photo_that_cannot_be_decoded_is_named_or_left_out(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", drawn_photos({"train": 5, "val": 3}))
    broken = data / "train" / "002.png"
    broken.write_bytes(broken.read_bytes()[:400])
    with pytest.raises(DataError, match=r"002\.png` cannot be decoded"):
        finetune(tiny(data), tmp_path / "run")
    loop = {**LOOP, "epochs": 1}
    result = finetune(tiny(data, skip_bad_images=True, loop=loop), tmp_path / "run")
    assert result.skipped == ("train/002.png",)
    _, _, samples = open_run(tmp_path / "run")
    assert len(samples) == 7 and len(boxes(tmp_path / "run")) == 7


def test_photos_without_objects_are_background(tmp_path: Path) -> None:
    photos: Photos = {"train": [*drawn_photos({"train": 4})["train"], [], []], "val": [[(0, 5, 5, 30, 30)], []]}
    result = finetune(tiny(write_coco(tmp_path / "data", photos), loop={**LOOP, "epochs": 1}), tmp_path / "run")
    assert np.isfinite(result.metrics["map50"])
    assert any("3 photos show nothing" in note for note in result.notes)


def test_the_command_line_says_what_it_found(blocks: Path, tmp_path: Path, cli: Cli) -> None:
    plain = ("--epochs", 1, "--batch-size", 4, "--precision", "fp32")
    options = ("--backbone", "residual_cnn", "--weights", "none", "--size", 96, *plain)
    result = cli("finetune", blocks, "--task", "detection", *options, "-o", tmp_path / "run", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["metric"] == "map50"
    assert "read as COCO JSON" in result.stderr
    gone = tmp_path / "gone"
    write_photo(gone / "a.png", [])
    refused = cli("finetune", gone, "--task", "detection", "--weights", "none", "-o", tmp_path / "none")
    assert refused.exit_code == 5
    assert "no boxes in a known format" in refused.stderr


@pytest.mark.slow
def test_a_whole_model_of_transformers_is_trained_in_its_own_geometry(blocks: Path, tmp_path: Path) -> None:
    folder = folder_of("rt_detr", tmp_path / "model")
    config = tiny(blocks, backbone=str(folder), weights="default", detector="rt-detr", loop={**LOOP, "epochs": 1})
    finetune(config, tmp_path / "run")
    run, task, _ = open_run(tmp_path / "run")
    assert isinstance(task, ObjectDetection)
    assert (run.backbone, run.strategy, task.input.mode, task.iou_threshold) == ("rt-detr", "fine-tune", "squash", None)
    assert open_detector(tmp_path / "run", run, task).decode(torch.zeros(1, 3, 96, 96))[1].shape[2] == 2


@pytest.mark.slow
def test_a_detector_learns_blocks_from_nothing(tmp_path: Path) -> None:
    """Random boxes score below 0.02 here; a reader that mixed up corners or classes could not come near 0.5."""
    data = write_coco(tmp_path / "data", drawn_photos({"train": 48, "val": 24, "test": 24}))
    loop = {"epochs": 24, "batch_size": 8, "precision": "fp32", "learning_rate": 3e-3, "augment": "flip"}
    result = finetune(tiny(data, loop=loop), tmp_path / "run")
    assert result.metrics["map50"] > 0.5
