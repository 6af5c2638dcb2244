"""A tiny detector, trained for a moment."""

from pathlib import Path

import pytest
from tests.core.boxed_files import drawn_photos, write_coco

from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.detection.stage import finetune
from edgetl.finetune.training.config import Value

LOOP: dict[str, Value] = {"epochs": 2, "batch_size": 4, "precision": "fp32", "augment": "flip"}


def tiny(data: Path, **changes: object) -> FinetuneConfig:
    """A detector for inputs of 96 × 64 pixels."""
    plain: dict[str, object] = {
        "data": str(data), "task": "detection", "backbone": "residual_cnn", "weights": "none", "size": 96, "loop": LOOP,
    }  # fmt: skip
    return FinetuneConfig(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco(tmp_path_factory.mktemp("blocks"), drawn_photos({"train": 8, "val": 20, "test": 4}))


@pytest.fixture(scope="session")
def detection_run(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detection") / "run"
    finetune(tiny(blocks), folder)
    return folder
