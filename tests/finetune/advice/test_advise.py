"""Advice fits the numbers it gives: cases, ranking, and the whole stage on tiny and on real photos."""

from pathlib import Path

import msgspec
import pytest
from tests.conftest import write_dataset

from edgetl.cli_advise import _engine, advice_table
from edgetl.errors import ConfigError
from edgetl.finetune.advice.advise import AdviseConfig, Candidate, Stopwatch, advise, decide, ranked
from edgetl.finetune.advice.similarity import Similarity

HYMENOPTERA = Similarity(
    probe_top1=0.984, probe_log_loss=0.06, neighbour_top1=0.955, logme=0.04, leep=-0.18, chance=0.506, samples=245,
    classes=2,
)  # fmt: skip
CIFAR10 = Similarity(
    probe_top1=0.62, probe_log_loss=1.1, neighbour_top1=0.5, logme=0.1, leep=-1.6, chance=0.1, samples=1600, classes=10
)


@pytest.mark.parametrize(
    "similarity, train_samples, case, strategy",
    [
        (HYMENOPTERA, 245, "near and small", "feature-extraction"),
        (HYMENOPTERA, 20_000, "near and large", "fine-tune"),
        (CIFAR10, 300, "far and small", "layer-wise"),
        (CIFAR10, 1600, "far and large", "fine-tune"),
    ],
)
def test_the_four_cases(similarity: Similarity, train_samples: int, case: str, strategy: str) -> None:
    decision = decide(similarity, train_samples, 100)
    assert (decision.case, decision.strategy) == (case, strategy)
    assert f"{similarity.probe_top1:.1%}" in decision.reason and str(train_samples) in decision.reason


def test_a_probe_that_the_neighbours_contradict_is_not_believed() -> None:
    alone = msgspec.structs.replace(HYMENOPTERA, neighbour_top1=0.6)
    assert decide(alone, 245, 100).case == "far and small"


def test_near_means_above_chance() -> None:
    """95 % where one class makes up 94 % is almost nothing."""
    assert decide(HYMENOPTERA, 5000, 9).strategy == "feature-extraction"
    assert decide(msgspec.structs.replace(HYMENOPTERA, probe_top1=0.95, chance=0.94), 245, 100).case == "far and small"


def candidate(name: str, top1: float, logme: float, error: float = 0.01) -> Candidate:
    return Candidate(
        backbone=name, weights="default", logme=logme, leep=None, probe_top1=top1, probe_top1_error=error,
        neighbour_top1=0.5, parameters=1, gmacs=1.0, latency_ms=None, similarity=HYMENOPTERA,
    )  # fmt: skip


def test_a_clear_difference_of_probes_decides_and_logme_breaks_ties() -> None:
    """Errors of 1 point make 1.4 for a difference: 97 and 96 are equal, 90 is not."""
    order = ranked([candidate("c", 0.90, 9.0), candidate("a", 0.97, 0.1), candidate("b", 0.96, 0.5)])
    assert [each.backbone for each in order] == ["b", "a", "c"]


def test_weights_of_the_same_data_beat_random_ones(run: Path, dataset: Path) -> None:
    config = AdviseConfig(data=str(dataset), backbones=("residual_cnn", "residual_cnn"), weights=("none", str(run)))
    advice = advise(config, stopwatch=Stopwatch(engine="onnxruntime", options={"threads": 1}))
    assert advice.recommended.weights == str(run) and advice.train_samples == 90
    best, random = advice.candidates
    assert best.probe_top1 >= random.probe_top1 and best.parameters == random.parameters
    assert best.leep is not None and random.leep is None
    assert best.latency_ms is not None and best.latency_ms.p50 > 0
    assert advice_table(msgspec.to_builtins(advice)) is not None


def test_an_image_that_cannot_be_decoded_is_left_out_and_named(run: Path, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "d", {"train": 6, "val": 2})
    broken = next((data / "train" / "moss").iterdir())
    broken.write_bytes(b"broken")
    advice = advise(AdviseConfig(data=str(data), backbones=("residual_cnn",), weights=(str(run),)))
    assert advice.left_out == (f"train/moss/{broken.name}",) and advice.candidates[0].similarity.samples == 17


def test_every_backbone_needs_its_weights() -> None:
    with pytest.raises(ConfigError, match="2 backbones and 1 weights"):
        advise(AdviseConfig(data=".", backbones=("resnet18", "resnet18"), weights=("default",)))


def test_latency_is_measured_only_on_the_device_itself() -> None:
    with pytest.raises(ConfigError, match="this machine is no `jetson-orin-nano`"):
        _engine("jetson-orin-nano")


@pytest.mark.real_data
def test_imagenet_fits_ants_and_bees_better_than_insects_of_inat(real_data: Path) -> None:
    """By every measure."""
    names = ("inat_insect", "imagenet")
    files = tuple(str(real_data / "weights" / f"mobilenet_v2-{name}.safetensors") for name in names)
    data = str(real_data / "data" / "hymenoptera")
    advice = advise(AdviseConfig(data=data, backbones=("mobilenet_v2",) * 2, weights=files))
    best, other = advice.candidates
    assert "imagenet" in best.weights and advice.strategy == "feature-extraction"
    assert best.leep is not None and other.leep is not None and best.leep > other.leep
    assert best.probe_top1 > other.probe_top1 and best.neighbour_top1 > other.neighbour_top1
    assert best.logme > other.logme
