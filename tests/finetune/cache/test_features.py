"""Features are computed once, by content, and agree wherever they are computed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import write_dataset
from torch import nn

from edgetl.errors import DataError
from edgetl.finetune.backbones.registry import get_backbone, head_name
from edgetl.finetune.cache.compute import Choice, choose, gmacs
from edgetl.finetune.cache.features import FeatureTable, cached_features
from edgetl.finetune.data.dataset import Dataset, read_dataset
from edgetl.machine import Machine
from edgetl.tasks import ImageClassification
from edgetl.tasks.images import ImageInput
from edgetl.types import silent

TASK = ImageClassification(labels=("amber", "moss", "slate"), input=ImageInput(height=32, width=32, resize=32))
PLAIN = Machine(system="Linux", arch="x86_64", cpu="", features=("avx2",), cores=2, memory_bytes=0, board="", gpus=())


def extractor(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = get_backbone("residual_cnn").build(3)
    model.set_submodule(head_name(model), nn.Identity())
    return model.eval()


@pytest.fixture
def small(tmp_path: Path) -> Dataset:
    return read_dataset(write_dataset(tmp_path / "d", {"train": 6, "val": 2}), seed=0)


def features(small: Dataset, cache: Path, kind: str = "torch-fp32", model: nn.Module | None = None) -> FeatureTable:
    choice = Choice(kind=kind, expected_seconds={})  # type: ignore[arg-type]
    return cached_features(model or extractor(), small.samples, small.root, TASK, choice, cache, silent)


def test_a_second_look_computes_nothing(small: Dataset, tmp_path: Path) -> None:
    first, second = features(small, tmp_path), features(small, tmp_path)
    assert (first.computed, second.computed) == (24, 0)
    assert np.array_equal(first.rows(small.samples)[0], second.rows(small.samples)[0])


def test_one_changed_image_is_computed_again_and_only_that(small: Dataset, tmp_path: Path) -> None:
    features(small, tmp_path)
    Image.new("RGB", (30, 30), "red").save(small.root / small.samples[0].path)
    assert features(read_dataset(small.root, seed=0), tmp_path).computed == 1


def test_other_weights_or_another_preparation_share_nothing(small: Dataset, tmp_path: Path) -> None:
    features(small, tmp_path)
    assert features(small, tmp_path, model=extractor(1)).computed == 24
    assert features(small, tmp_path, kind="torch-bf16").computed == 24


def test_a_damaged_cache_is_computed_again(small: Dataset, tmp_path: Path) -> None:
    features(small, tmp_path)
    rows = next(tmp_path.glob("frozen-*")) / "rows.bin"
    rows.write_bytes(bytes(100) + rows.read_bytes()[100:])
    assert features(small, tmp_path).computed == 1


def test_bf16_and_the_engine_agree_with_fp32(small: Dataset, tmp_path: Path) -> None:
    exact, _ = features(small, tmp_path).rows(small.samples)
    engine, _ = features(small, tmp_path, kind="onnxruntime-fp32").rows(small.samples)
    rough, _ = features(small, tmp_path, kind="torch-bf16").rows(small.samples)
    assert np.allclose(engine, exact, atol=1e-4)
    assert np.corrcoef(rough.ravel(), exact.ravel())[0, 1] > 0.999


def test_computing_does_not_change_the_model(small: Dataset, tmp_path: Path) -> None:
    model = extractor()
    features(small, tmp_path, kind="torch-bf16", model=model)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_an_undecodable_image_is_named(small: Dataset, tmp_path: Path) -> None:
    (small.root / small.samples[3].path).write_bytes(b"broken")
    table = features(read_dataset(small.root, seed=0), tmp_path)
    assert list(table.bad) == [small.samples[3].path] and table.computed == 23
    assert isinstance(table.bad[small.samples[3].path], DataError)


def test_the_choice_counts_the_conversion() -> None:
    """Few images are not worth an export; many are, unless the processor computes bf16 itself."""
    few = choose(PLAIN, 0.3, 300, engine_installed=True)
    many = choose(PLAIN, 0.3, 30_000, engine_installed=True)
    assert (few.kind, many.kind) == ("torch-fp32", "onnxruntime-fp32")
    assert choose(PLAIN, 0.3, 30_000, engine_installed=False).kind == "torch-fp32"
    import msgspec

    modern = msgspec.structs.replace(PLAIN, features=("avx2", "avx512-bf16"))
    assert choose(modern, 0.3, 30_000, engine_installed=True).kind == "torch-bf16"


def test_multiply_accumulates_of_a_known_network() -> None:
    """3 × 3 convolution, 3 → 4 channels, 8 × 8 outputs: 3·3·3·4·64."""
    assert gmacs(nn.Conv2d(3, 4, 3, padding=1), 8, 8) == pytest.approx(3 * 3 * 3 * 4 * 64 / 1e9)
