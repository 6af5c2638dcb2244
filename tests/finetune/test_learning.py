"""Heads, loops and strategies learn what there is to learn."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tomllib
import torch
from sklearn.linear_model import LogisticRegression
from tests.conftest import write_dataset

from edgetl.finetune.backbones.registry import get_backbone, recipe
from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.head.logistic import fit_head
from edgetl.finetune.stage import finetune
from edgetl.run import open_run
from edgetl.types import silent


@pytest.mark.parametrize("classes", [2, 4])
def test_the_folded_head_answers_like_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(0)
    truths = np.arange(80) % classes
    features = (rng.normal(size=(80, 6)) + truths[:, None]) * [1, 10, 100, 0.1, 1, 0] + 5
    head = fit_head(features.astype(np.float32), truths, classes, seed=0, track=silent)
    std = np.where(features.std(0) > 1e-9, features.std(0), 1)
    scaled = (features - features.mean(0)) / std
    expected = LogisticRegression(C=head.c, max_iter=2000).fit(scaled, truths).predict_proba(scaled)
    logits = torch.from_numpy(head.logits(features.astype(np.float32)))
    assert np.allclose(torch.softmax(logits, 1).numpy(), expected, atol=1e-3)
    module = head.module()(torch.from_numpy(features.astype(np.float32)))
    assert np.allclose(module.detach().numpy(), logits.numpy(), atol=1e-3)


def test_noise_gets_strong_regularisation_and_signal_weak() -> None:
    rng = np.random.default_rng(0)
    truths = np.arange(100) % 2
    noise = fit_head(rng.normal(size=(100, 50)), truths, 2, seed=0, track=silent)
    signal = fit_head(rng.normal(size=(100, 50)) + 3 * truths[:, None], truths, 2, seed=0, track=silent)
    assert noise.c < signal.c


def test_a_run_is_complete_and_reopens(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names == {
        "run.json", "config.toml", "task.json", "samples.json", "weights.safetensors", "metrics.jsonl",
        "report.html", "evaluation.json",
    }  # fmt: skip
    record, task, samples = open_run(run)
    assert record.metrics["top1"] > 0.8 and record.headline == "val"
    assert task.labels == ("amber", "moss", "slate") and len(samples) == 180
    assert tomllib.loads((run / "config.toml").read_text())["strategy"] == "from-scratch"
    assert [json.loads(line)["epoch"] for line in (run / "metrics.jsonl").read_text().splitlines()] == list(
        range(1, 11)
    )
    page = (run / "report.html").read_text()
    assert "<svg" in page and "<script" not in page
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in links)


def test_transfer_takes_the_input_recipe_of_the_run_it_starts_from(run: Path, dataset: Path, tmp_path: Path) -> None:
    config = FinetuneConfig(data=str(dataset), backbone="residual_cnn", weights=str(run))
    result = finetune(config, tmp_path / "again")
    assert result.metrics["top1"] > 0.8 and result.strategy == "feature-extraction"
    assert open_run(tmp_path / "again")[1].input == open_run(run)[1].input


def test_fine_tune_starts_from_a_fitted_head(run: Path, dataset: Path, tmp_path: Path) -> None:
    config = FinetuneConfig(
        data=str(dataset), backbone="residual_cnn", weights=str(run), strategy="fine-tune",
        loop={"epochs": 1, "learning_rate": 1e-5, "augment": "none"},
    )  # fmt: skip
    first = json.loads((Path(finetune(config, tmp_path / "tuned").run) / "metrics.jsonl").read_text().splitlines()[0])
    assert first["train_top1"] > 0.8


def test_none_keeps_head_and_labels(run: Path, dataset: Path, tmp_path: Path) -> None:
    config = FinetuneConfig(data=str(dataset), backbone="residual_cnn", weights=str(run), strategy="none")
    result = finetune(config, tmp_path / "kept")
    assert result.metrics["top1"] == pytest.approx(open_run(run)[0].metrics["top1"])
    assert result.epochs == 0


def test_test_images_make_the_headline(run: Path, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "d", {"train": 8, "val": 4, "test": 5})
    result = finetune(FinetuneConfig(data=str(data), backbone="residual_cnn", weights=str(run)), tmp_path / "r")
    assert (result.headline, result.samples) == ("test", 15)


def test_published_recipes_come_from_the_weights_metadata() -> None:
    """torchvision documents 232 → 224 pixels for MobileNetV2's second weights and 256 → 224 for the first."""
    backbone = get_backbone("mobilenet_v2")
    assert recipe(backbone, newest=True).input.resize == 232
    assert recipe(backbone).input.resize == 256
    assert recipe(backbone, size=112).input.resize == 128
