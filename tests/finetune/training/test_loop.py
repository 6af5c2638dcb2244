"""What a user counts on while a network trains: what is frozen stays, a kill costs nothing, a divergence is named."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from edgetl.errors import ConfigError
from edgetl.finetune.backbones.registry import get_backbone
from edgetl.finetune.backbones.stages import stages
from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.stage import finetune
from edgetl.finetune.training.config import Value

PLAIN: dict[str, Value] = {"epochs": 2, "augment": "none", "precision": "fp32", "batch_size": 16}


def config(data: Path, run: Path, strategy: str, **loop: Value) -> FinetuneConfig:
    return FinetuneConfig(
        data=str(data), backbone="residual_cnn", weights=str(run), strategy=strategy, loop={**PLAIN, **loop}
    )


def weights(run: Path) -> dict[str, Tensor]:
    return load_file(run / "weights.safetensors")


def changed(before: Path, after: Path) -> list[bool]:
    """For each stage below the head, whether any of its parameters differs."""
    old, new = weights(before), weights(after)
    found = stages(get_backbone("residual_cnn").build(3))
    return [any(not torch.equal(old[name], new[name]) for name in stage.parameters) for stage in found[:-1]]


@pytest.mark.parametrize(
    ("strategy", "options", "expected"),
    [
        ("partial", {"freeze": "2"}, [False, False, True, True]),
        ("partial", {"freeze": "stages.1", "views": 1}, [False, False, False, True]),
        ("progressive", {"epochs": 5}, [True] * 4),
        ("layer-wise", {}, [True] * 4),
        ("full", {}, [True] * 4),
    ],
)
def test_exactly_the_frozen_stages_stay_as_they_were(
    run: Path, dataset: Path, tmp_path: Path, strategy: str, options: dict[str, Value], expected: list[bool]
) -> None:
    finetune(config(dataset, run, strategy, **options), tmp_path / "r")
    assert changed(run, tmp_path / "r") == expected


def test_statistics_of_frozen_norms_stay_too(run: Path, dataset: Path, tmp_path: Path) -> None:
    finetune(config(dataset, run, "partial", freeze="2", batch_norm="train"), tmp_path / "r")
    old, new = weights(run), weights(tmp_path / "r")
    assert torch.equal(old["stem.1.running_mean"], new["stem.1.running_mean"])
    assert not torch.equal(old["stages.2.body.1.running_mean"], new["stages.2.body.1.running_mean"])
    finetune(config(dataset, run, "fine-tune", batch_norm="frozen"), tmp_path / "frozen")
    kept = weights(tmp_path / "frozen")
    assert torch.equal(old["stages.2.body.1.running_mean"], kept["stages.2.body.1.running_mean"])


def test_without_room_in_the_cache_the_frozen_stages_run_in_every_step(
    run: Path, dataset: Path, tmp_path: Path
) -> None:
    """The cached activations change nothing but the time: the same weights come out."""
    import msgspec

    asked = config(dataset, run, "partial", freeze="2", views=1)
    cached = finetune(asked, tmp_path / "cached")
    uncached = finetune(msgspec.structs.replace(asked, cache_gb=0.0), tmp_path / "uncached")
    assert not cached.notes and "--cache-gb" in uncached.notes[0]
    one, other = weights(tmp_path / "cached"), weights(tmp_path / "uncached")
    floats = [key for key, value in one.items() if value.is_floating_point()]
    assert all(torch.allclose(one[key], other[key], atol=1e-4) for key in floats)


def test_training_learns_and_repeats_itself(run: Path, dataset: Path, tmp_path: Path) -> None:
    options: dict[str, Value] = {"augment": "crop-flip", "dropout": 0.2, "mixup": 0.2, "cutmix": 0.5, "ema": 0.9}
    for name in ("one", "two"):
        finetune(config(dataset, run, "full", **options, label_smoothing=0.1), tmp_path / name)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.equal(one[key], two[key]) for key in one)
    lines = [json.loads(line) for line in (tmp_path / "one" / "metrics.jsonl").read_text().splitlines()]
    assert lines[1]["loss"] < lines[0]["loss"]


def test_a_loss_that_is_not_finite_names_the_batch_and_its_files(run: Path, dataset: Path, tmp_path: Path) -> None:
    spoilt = weights(run)
    spoilt["stages.2.body.4.weight"].fill_(3e38)
    save_file(spoilt, tmp_path / "spoilt.safetensors")
    asked = config(dataset, tmp_path / "spoilt.safetensors", "full")
    with pytest.raises(ConfigError, match=r"the loss is nan in epoch 1, batch 0 \(`train/\w+/\d\d\.png`, ") as caught:
        finetune(asked, tmp_path / "r")
    assert caught.value.hint == "lower `--learning-rate`"
    assert {path.name for path in tmp_path.iterdir()} == {"spoilt.safetensors"}


def test_the_best_epoch_is_kept_and_patience_ends_a_training(run: Path, tmp_path: Path) -> None:
    """With a test split `val` chooses; a rate that rises until it does harm makes an early epoch the best."""
    from tests.conftest import write_dataset

    data = write_dataset(tmp_path / "d", {"train": 20, "val": 20, "test": 5})
    options = config(data, run, "fine-tune", epochs=12, learning_rate=0.1, warmup=1.0, patience=3)
    result = finetune(options, tmp_path / "r")
    lines = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    best = max(lines, key=lambda line: (line["val_metric"], -line["val_loss"]))
    assert result.epochs == best["epoch"] + 3 < 12
    shutil.rmtree(data / "test")
    kept = FinetuneConfig(data=str(data), backbone="residual_cnn", weights=str(tmp_path / "r"), strategy="none")
    assert finetune(kept, tmp_path / "kept").metrics["top1"] == pytest.approx(best["val_metric"])


COMMAND = """
import sys
from edgetl.cli import app
app(sys.argv[1:])
"""


def start(*arguments: object) -> "subprocess.Popen[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_killed_training_resumes_to_the_same_bits(run: Path, dataset: Path, tmp_path: Path) -> None:
    options = (
        "finetune", dataset, "--backbone", "residual_cnn", "--weights", run, "--strategy", "fine-tune", "--precision",
        "fp32", "--epochs", 60, "--batch-size", 8, "--dropout", 0.1, "--ema", 0.99, "--mixup", 0.1,
    )  # fmt: skip
    whole = start(*options, "-o", tmp_path / "whole")
    assert whole.communicate(timeout=240)[1] is not None and whole.returncode == 0
    killed = start(*options, "-o", tmp_path / "killed")
    mark = tmp_path / ".killed.unfinished" / "main" / "checkpoint.json"
    deadline = time.monotonic() + 120
    while not mark.exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    assert killed.returncode == -signal.SIGKILL and not (tmp_path / "killed").exists()
    refused = start(*options, "-o", tmp_path / "killed")
    assert "an unfinished run" in refused.communicate(timeout=120)[1] and refused.returncode == 2
    resumed = start(*options, "-o", tmp_path / "killed", "--resume")
    assert resumed.communicate(timeout=240)[1] is not None and resumed.returncode == 0
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert not mark.parent.exists()


def test_resuming_with_other_options_is_refused(run: Path, dataset: Path, tmp_path: Path) -> None:
    from edgetl.finetune.training.checkpoint import Checkpoint, Progress

    first = Checkpoint(tmp_path / "c", {"epochs": 3}, resume=False)
    first.save(Progress(), {"model": {"w": torch.ones(2)}})
    first.close()
    with pytest.raises(ConfigError, match="`epochs` = `3`, now it is `4`"):
        Checkpoint(tmp_path / "c", {"epochs": 4}, resume=True)


def test_two_processes_do_not_train_the_same_run(tmp_path: Path) -> None:
    from edgetl.finetune.training.checkpoint import Checkpoint

    first = Checkpoint(tmp_path / "c", {}, resume=False)
    with pytest.raises(ConfigError, match="another process trains"):
        Checkpoint(tmp_path / "c", {}, resume=True)
    first.close()
