"""Every architecture is found by name, knows its input, computes torchvision's function and has a linear head."""

import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from edgetl.errors import ArtefactError, ConfigError, DependencyError
from edgetl.finetune.backbones.registry import BACKBONES, Backbone, get_backbone, head_name, head_of, recipe
from edgetl.finetune.backbones.stages import stages
from edgetl.finetune.backbones.weights import build_model, read_weights, save_weights
from edgetl.tasks import ImageClassification
from edgetl.tasks.images import ImageInput

NAMES = (
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    "alexnet", "googlenet", "inception_v3", "resnet18", "resnext50_32x4d", "wide_resnet50_2", "mobilenet_v2",
    "mobilenet_v3_large", "efficientnet_b7", "efficientnet_v2_s", "shufflenet_v2_x2_0", "mnasnet1_3", "regnet_y_128gf",
    "squeezenet1_0", "densenet201", "convnext_base", "swin_t", "swin_v2_b", "vit_h_14", "maxvit_t", "residual_cnn",
)  # fmt: skip


def answers(model: nn.Module, side: int) -> Tensor:
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        result: Tensor = model.eval()(pixels)
    return result


def loaded(backbone: Backbone, model: nn.Module, folder: Path, classes: int | None) -> tuple[nn.Module, list[str]]:
    """The model's state as a file, read into ours."""
    torch.save(model.state_dict(), folder / "w.pth")
    return build_model(backbone, read_weights(backbone, str(folder / "w.pth")).state, classes, seed=0)


def test_the_classification_families_are_known_and_nothing_else() -> None:
    assert set(NAMES) <= set(BACKBONES) and len(BACKBONES) > 60
    assert not [name for name in BACKBONES if any(what in name for what in ("quantized", "rcnn", "deeplab", "r3d"))]
    with pytest.raises(ConfigError, match="did you mean `convnext_tiny`"):
        get_backbone("convnext_tinny")


def test_inputs_are_those_torchvision_documents() -> None:
    """torchvision's pages: Inception 342 → 299, EfficientNet-V2-L 480 with a mean of 0.5, ViT-H/14 518 bicubic."""
    inception, large, huge = (recipe(get_backbone(name)) for name in ("inception_v3", "efficientnet_v2_l", "vit_h_14"))
    assert (inception.input.resize, inception.input.height) == (342, 299)
    assert (large.input.height, large.mean, large.std) == (480, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (huge.input.height, huge.input.interpolation) == (518, "bicubic")
    assert recipe(get_backbone("inception_v3"), size=150).input.resize == 172
    for backbone in BACKBONES.values():
        assert recipe(backbone, newest=True).input.height >= 32


def test_a_size_the_architecture_cannot_take_is_refused() -> None:
    with pytest.raises(ConfigError, match="`vit_b_16` takes images of 224 pixels only, not 160"):
        recipe(get_backbone("vit_b_16"), size=160)
    with pytest.raises(ConfigError, match="`inception_v3` cannot take images of 64 pixels\nhint: `--size 75`"):
        recipe(get_backbone("inception_v3"), size=64)
    assert recipe(get_backbone("vit_b_16"), size=224) == recipe(get_backbone("vit_b_16"))
    assert recipe(get_backbone("swin_t"), size=64).input.height == 64


@pytest.mark.parametrize(("name", "side"), [("googlenet", 64), ("inception_v3", 80)])
def test_auxiliary_heads_are_dropped_and_the_function_is_torchvisions(name: str, side: int, tmp_path: Path) -> None:
    """torchvision itself sets `transform_input` for the weights it publishes, which carry auxiliary heads."""
    options = {"aux_logits": True, "transform_input": True, "init_weights": False}
    published = torchvision.models.get_model(name, weights=None, num_classes=5, **options)
    model, notes = loaded(get_backbone(name), published, tmp_path, None)
    assert len(notes) == 1 and "auxiliary heads" in notes[0]
    torch.testing.assert_close(answers(model, side), answers(published, side))
    model.train()
    assert model(torch.zeros(2, 3, side, side)).shape == (2, 5)


def test_the_head_of_squeezenet_is_linear_and_the_published_one_cannot_be_kept(tmp_path: Path) -> None:
    backbone = get_backbone("squeezenet1_1")
    published = torchvision.models.get_model("squeezenet1_1", weights=None, num_classes=5)
    model, notes = loaded(backbone, published, tmp_path, 5)
    assert "`classifier.1.weight`" in notes[0] and "dropped the weights' own head" in notes[1]
    first = published.get_submodule("features.0").get_parameter("weight")
    assert torch.equal(model.get_parameter("features.0.weight"), first)
    assert answers(model, 64).min() < 0
    with pytest.raises(ArtefactError, match=r"`classifier\.1\.weight`\) cannot be kept"):
        loaded(backbone, published, tmp_path, None)
    again, notes = loaded(backbone, model, tmp_path, None)
    assert notes == [] and torch.equal(answers(again, 64), answers(model, 64))


@pytest.mark.slow
def test_a_head_without_bias_gets_one_of_zeros(tmp_path: Path) -> None:
    published = torchvision.models.get_model("maxvit_t", weights=None, num_classes=5)
    model, notes = loaded(get_backbone("maxvit_t"), published, tmp_path, None)
    assert notes == [] and not head_of(model).bias.any()
    torch.testing.assert_close(answers(model, 224), answers(published, 224))


@pytest.mark.parametrize(
    ("name", "side", "renames"),
    [
        ("densenet121", 32, {"layer1.norm1.": "layer1.norm.1.", "layer2.conv2.": "layer2.conv.2."}),
        pytest.param(
            "vit_b_32", 224, {".mlp.0.": ".mlp.linear_1.", ".mlp.3.": ".mlp.linear_2."}, marks=pytest.mark.slow
        ),
    ],
)
def test_the_older_names_of_published_files_are_read(
    name: str, side: int, renames: dict[str, str], tmp_path: Path
) -> None:
    """Files published before torchvision renamed layers keep the old names; torchvision translates them on loading."""
    backbone = get_backbone(name)
    torch.manual_seed(1)
    published = backbone.build(5)
    expected = published.state_dict()
    state = dict(expected)
    for new, old in renames.items():
        state = {key.replace(new, old): value for key, value in state.items()}
    assert set(state) != set(expected)
    save_file(state, tmp_path / "w.safetensors")
    model, notes = build_model(backbone, read_weights(backbone, str(tmp_path / "w.safetensors")).state, None, seed=0)
    assert notes == [] and all(torch.equal(expected[key], value) for key, value in model.state_dict().items())
    assert torch.equal(answers(model, side), answers(published, side))


def test_mnasnet_survives_a_file_that_keeps_no_versions(tmp_path: Path) -> None:
    backbone = get_backbone("mnasnet0_5")
    model = backbone.build(3)
    task = ImageClassification(labels=("a", "b", "c"), input=ImageInput(height=64, width=64, resize=64))
    save_weights(tmp_path / "w.safetensors", model, task, "none")
    again, _ = build_model(backbone, read_weights(backbone, str(tmp_path / "w.safetensors")).state, None, seed=1)
    assert torch.equal(answers(again, 64), answers(model, 64))


@pytest.mark.parametrize("name", ["mnasnet0_5", "mobilenet_v3_small"])
def test_dropout_leaves_kept_activations_alone(name: str) -> None:
    drops = [module for module in get_backbone(name).build(2).modules() if isinstance(module, nn.Dropout)]
    assert drops and not any(module.inplace for module in drops)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BACKBONES if not name.startswith("regnet")])
def test_every_backbone_has_a_linear_head_and_stages(name: str) -> None:
    """Without memory for the weights. RegNet computes its widths with tensors while it is built, which needs some."""
    with torch.device("meta"):
        model = get_backbone(name).build(7)
    found = stages(model)
    assert head_of(model).out_features == 7 and head_of(model).bias is not None
    assert found[-1].parameters == (f"{head_name(model)}.weight", f"{head_name(model)}.bias") and len(found) >= 5
    assert sorted(key for stage in found for key in stage.parameters) == sorted(dict(model.named_parameters()))


def test_timm_is_imported_only_when_asked_for() -> None:
    script = (
        "import sys, edgetl.finetune.backbones.registry as b; b.get_backbone('resnet18'); print('timm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgetl.plugins._installed", lambda library: library != "timm")
    with pytest.raises(DependencyError, match=r"`timm`.*\nhint: install `edgetl\[timm\]`"):
        get_backbone("timm:resnet18")


def test_timm_inputs_come_from_its_configuration() -> None:
    """timm's model card of resnet18.a1_in1k: 224 pixels, crop 0.95, bicubic; of vit_tiny: mean 0.5, crop 0.9."""
    found = recipe(get_backbone("timm:resnet18.a1_in1k"))
    assert found.input == ImageInput(height=224, width=224, resize=235, interpolation="bicubic")
    assert recipe(get_backbone("timm:resnet18"), size=112).input.height == 112
    tiny = get_backbone("timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    assert recipe(tiny).mean == (0.5, 0.5, 0.5) and recipe(tiny).input.resize == 248
    with pytest.raises(ConfigError, match="224 pixels only"):
        recipe(tiny, size=96)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet81", "timm has no model `resnet81`\nhint: did you mean"),
        ("timm:resnet18.a7_in1k", "did you mean `resnet18"),
        ("timm:hf-hub:timm/resnet18", "timm has no model"),
        ("timm:", "timm has no model"),
    ],
)
def test_names_timm_does_not_know_are_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        get_backbone(name)


def test_a_timm_head_that_is_a_convolution_is_said() -> None:
    with pytest.raises(ConfigError, match="no head of one linear layer"):
        head_name(get_backbone("timm:resnetv2_50").build(2))


def test_timm_weights_come_from_a_file_and_not_from_the_network(tmp_path: Path) -> None:
    backbone = get_backbone("timm:resnet18.a1_in1k")
    published = timm.create_model("resnet18", num_classes=5)
    save_file(published.state_dict(), tmp_path / "model.safetensors")
    weights = read_weights(backbone, str(tmp_path / "model.safetensors"))
    model, notes = build_model(backbone, weights.state, None, seed=0)
    assert notes == [] and torch.equal(answers(model, 64), answers(published, 64))
    with pytest.raises(ArtefactError, match="not downloaded"):
        read_weights(backbone, "default")
