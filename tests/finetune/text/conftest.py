"""A tiny encoder, texts, and a run of both."""

from pathlib import Path

import pytest
from tests.finetune.text.corpus import write_backbone, write_reviews

from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.text.stage import finetune
from edgetl.finetune.training.config import Value

PLAIN: dict[str, Value] = {"epochs": 3, "batch_size": 16, "precision": "fp32", "learning_rate": 3e-3}


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("texts") / "reviews.csv", {"train": 80, "val": 60})


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_backbone(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture(scope="session")
def text_run(reviews: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "reviews"
    finetune(asked(reviews, encoder, "fine-tune"), folder)
    return folder


def asked(data: Path, backbone: Path, strategy: str, **loop: Value) -> FinetuneConfig:
    return FinetuneConfig(
        data=str(data), task="text", backbone=str(backbone), strategy=strategy, loop={**PLAIN, **loop}
    )
