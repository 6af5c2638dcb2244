"""Backbones come apart between stages, with the same answers and nobody else's parameters, and ship as ONNX."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgetl.errors import ConfigError
from edgetl.finetune.backbones.registry import get_backbone, head_name, recipe
from edgetl.finetune.backbones.stages import boundary_of, split, stages
from edgetl.finetune.graph import deploy, export_onnx, torch_predictor
from edgetl.runtime.engines import open_engine
from edgetl.tasks import ImageClassification

QUICK = [("residual_cnn", 32), ("resnet18", 64), ("mobilenet_v3_small", 64), ("squeezenet1_1", 64)]
WIDE = [
    ("alexnet", 64), ("convnext_tiny", 64), ("densenet121", 64), ("efficientnet_b0", 64), ("efficientnet_v2_s", 64),
    ("googlenet", 64), ("inception_v3", 96), ("maxvit_t", 224), ("mnasnet0_5", 64), ("mobilenet_v2", 64),
    ("mobilenet_v3_large", 64), ("regnet_x_400mf", 64), ("regnet_y_400mf", 64), ("resnet50", 64),
    ("resnext50_32x4d", 64), ("shufflenet_v2_x0_5", 64),
    ("swin_t", 64), ("swin_v2_t", 64), ("vgg11", 64), ("vgg11_bn", 64), ("vit_b_32", 224),
    ("wide_resnet50_2", 64), ("timm:resnet18", 64), ("timm:vit_tiny_patch16_224", 224), ("timm:convnext_atto", 64),
    ("timm:mobilenetv3_small_050", 64),
]  # fmt: skip
"""A small member of every family, at the smallest comfortable side in pixels."""

FAMILIES = [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in WIDE)]


def noisy(name: str, classes: int = 7) -> nn.Module:
    """Random weights, none of them zero or 1e-6: a block that changes nothing could stand anywhere."""
    torch.manual_seed(0)
    model = get_backbone(name).build(classes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


def images(side: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def boundaries(count: int) -> list[int]:
    """All between the stages of a small model, else a handful with the first and the last."""
    return list(range(1, count)) if count < 12 else [1, count // 2, count - 2, count - 1]


@pytest.mark.parametrize(("name", "side"), FAMILIES)
def test_stages_share_out_the_parameters_and_end_in_the_head(name: str, side: int) -> None:
    model = get_backbone(name).build(7)
    found = stages(model)
    assert sorted(key for stage in found for key in stage.parameters) == sorted(dict(model.named_parameters()))
    head = head_name(model)
    assert (found[-1].name, set(found[-1].parameters)) == (head, {f"{head}.weight", f"{head}.bias"})
    assert 5 <= len(found) == len({stage.name for stage in found}) and all(stage.parameters for stage in found)
    norms = {key for key, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert norms <= {leaf for stage in found for leaf in stage.modules}


@pytest.mark.parametrize(("name", "side"), FAMILIES)
def test_the_two_parts_answer_like_the_whole(name: str, side: int) -> None:
    model = noisy(name)
    pixels = images(side)
    with torch.inference_mode():
        whole = model(pixels)
        assert whole.shape == (2, 7) and whole.std() > 0
        for boundary in boundaries(len(stages(model))):
            frozen, rest = split(model, boundary)
            carried = frozen(pixels)
            kept = carried.clone()
            torch.testing.assert_close(rest(carried), whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))
            assert torch.equal(carried, kept), f"the rest overwrites what it is given at {boundary}"


@pytest.mark.parametrize(("name", "side"), FAMILIES)
def test_a_step_on_the_rest_changes_its_parameters_and_no_others(name: str, side: int) -> None:
    model = noisy(name)
    found = stages(model)
    boundary = len(found) // 2
    frozen, rest = split(model, boundary)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    with torch.no_grad():
        carried = frozen(images(side))
    loss = torch.nn.functional.cross_entropy(rest(carried), torch.tensor([0, 3]))
    torch.autograd.backward(loss)
    # Adam's first step is as long for a gradient of 1e-9, which would vanish in a weight of 1
    torch.optim.Adam(rest.parameters(), lr=0.1, eps=1e-30).step()
    changed = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    assert changed == {key for stage in found[boundary:] for key in stage.parameters}


@pytest.mark.parametrize(("name", "side"), FAMILIES)
def test_every_family_exports_and_agrees_with_torch(name: str, side: int, tmp_path: Path) -> None:
    model = noisy(name)
    found = recipe(get_backbone(name), size=side)
    task = ImageClassification(labels=tuple("abcdefg"), input=found.input, mean=found.mean, std=found.std)
    export_onnx(deploy(model, task), task.inputs, tmp_path / "m.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    answers = open_engine("onnxruntime", tmp_path / "m.onnx", {}).run({"image": pixels})["logits"]
    expected = torch_predictor(model, task)(pixels)
    assert np.abs(answers - expected).max() <= 1e-4 * np.abs(expected).max()


def test_a_frozen_part_exports_on_its_own(tmp_path: Path) -> None:
    """The engine can compute activations in the middle as well as features."""
    model = noisy("mobilenet_v3_small")
    found = recipe(get_backbone("mobilenet_v3_small"), size=64)
    task = ImageClassification(labels=tuple("abcdefg"), input=found.input, mean=found.mean, std=found.std)
    frozen, _ = split(model, 9)
    export_onnx(deploy(frozen, task), task.inputs, tmp_path / "m.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    answers = open_engine("onnxruntime", tmp_path / "m.onnx", {}).run({"image": pixels})["logits"]
    assert answers.ndim == 4 and np.allclose(answers, torch_predictor(frozen, task)(pixels), atol=1e-4)


def test_training_is_not_baked_into_the_parts() -> None:
    """Cut in evaluation, put to training: dropout drops again, and the frozen part's norms count again."""
    model = noisy("mobilenet_v3_small")
    frozen, rest = split(model, len(stages(model)) - 1)
    carried = frozen(images(64))
    assert torch.equal(rest(carried), rest(carried))
    rest.train()
    assert not torch.equal(rest(carried), rest(carried))
    counted = model.get_buffer("features.0.1.num_batches_tracked").clone()
    frozen.train()(images(64))
    assert model.get_buffer("features.0.1.num_batches_tracked") == counted + 1


def test_stages_are_named_like_the_modules_that_run() -> None:
    names = [stage.name for stage in stages(get_backbone("resnet18").build(2))]
    assert names == ["conv1", *(f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)), "fc"]
    assert stages(get_backbone("resnet18").build(2))[0].modules == ("conv1", "bn1", "relu", "maxpool")
    names = [stage.name for stage in stages(get_backbone("mobilenet_v2").build(2))]
    assert names == [*(f"features.{i}" for i in range(19)), "classifier.1"]


def test_tokens_and_positions_belong_to_the_stem_of_a_transformer() -> None:
    with torch.device("meta"):
        found = stages(get_backbone("vit_b_16").build(2))
    assert [stage.name for stage in found[1:-1]] == [f"encoder.layers.encoder_layer_{i}" for i in range(12)]
    assert {"class_token", "encoder.pos_embedding", "conv_proj.weight"} <= set(found[0].parameters)
    assert {"encoder.ln.weight", "encoder.ln.bias"} <= set(found[-2].parameters)


class Undecided(nn.Module):
    """Which way it goes depends on the pixels, which no trace can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        features = self.norm(self.stem(x)).mean((2, 3)) + self.shift
        answers: Tensor = self.head(features if features.sum() > 0 else -features)
        return answers


class ByMode(nn.Module):
    """A dropout without a module: a trace would keep the mode it was taken in."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        features = nn.functional.dropout(self.stem(x).mean((2, 3)), training=self.training)
        answers: Tensor = self.head(features)
        return answers


@pytest.mark.parametrize("kind", [Undecided, ByMode])
def test_what_cannot_be_traced_has_stages_but_is_not_cut(kind: type[nn.Module]) -> None:
    model = kind()
    found = stages(model)
    assert [stage.name for stage in found] == ["stem", "head"]
    assert sorted(key for stage in found for key in stage.parameters) == sorted(dict(model.named_parameters()))
    with pytest.raises(ConfigError, match=f"`{kind.__name__}` cannot be cut inside; its activations are not cached"):
        split(model, 1)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("0", 0), ("4", 4), ("9", 9), ("0.0", 0), ("0.5", 4), ("1.0", 9), ("conv1", 1), ("layer2.0", 4), ("layer3", 7)],
)
def test_what_freeze_asks_for(spec: str, expected: int) -> None:
    assert boundary_of(stages(get_backbone("resnet18").build(2)), spec) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("10", "0 to 9 stages"), ("-1", "0 to 9 stages"), ("1.2", "0 to 9 stages"), ("nan", "nan"), ("inf", "inf"),
        ("laier3.0", "did you mean `layer3.0`"), ("fc", "no stage below the head"), ("", "no stage below"),
    ],
)  # fmt: skip
def test_what_cannot_be_frozen_is_said(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        boundary_of(stages(get_backbone("resnet18").build(2)), spec)


def test_the_ends_are_the_whole_model() -> None:
    model = noisy("residual_cnn")
    pixels = images(32)
    for boundary in (0, 5):
        frozen, rest = split(model, boundary)
        assert torch.equal(rest(frozen(pixels)), model(pixels))
    with pytest.raises(ConfigError, match="5 stages"):
        split(model, 6)
