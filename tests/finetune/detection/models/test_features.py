"""Feature maps are the backbone's own, at the strides a detector counts on; what has none is refused."""

import pytest
import torch
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor

from edgetl.errors import ConfigError
from edgetl.finetune.backbones.registry import get_backbone
from edgetl.finetune.detection.models.features import ABLE, FeatureMaps, feature_maps


def maps_of(name: str, size: tuple[int, int] = (64, 96), finest: int = 8) -> FeatureMaps:
    return feature_maps(get_backbone(name), None, size, seed=0, finest=finest)


def test_the_maps_are_those_of_the_networks_stages() -> None:
    """torchvision's own extractor, told by name what the papers call C3, C4 and C5."""
    pixels = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    model = torchvision.models.resnet18().eval()
    found = feature_maps(get_backbone("resnet18"), dict(model.state_dict()), (64, 96), seed=0)
    wanted = create_feature_extractor(model, {"layer2": "8", "layer3": "16", "layer4": "32"})
    with torch.inference_mode():
        right, own = wanted(pixels), found.body.eval()(pixels)
    assert (found.strides, found.channels) == ((8, 16, 32), (128, 256, 512))
    assert all(torch.equal(own[key], right[key]) for key in ("8", "16", "32"))


def test_a_shallow_backbone_gives_the_maps_it_has() -> None:
    found = maps_of("residual_cnn")
    assert (found.strides, found.channels) == ((8,), (80,))
    assert "head" not in dict(found.body.named_parameters())


def test_channels_come_first_whatever_the_backbone_does() -> None:
    """A Swin transformer keeps them last between its blocks."""
    found = maps_of("swin_t", (64, 96))
    with torch.inference_mode():
        maps = found.body(torch.zeros(1, 3, 64, 96))
    assert [tuple(each.shape[1:]) for each in maps.values()] == [(192, 8, 12), (384, 4, 6), (768, 2, 3)]


def test_the_finest_map_can_be_left_out() -> None:
    assert maps_of("mobilenet_v2", finest=16).strides == (16, 32)


@pytest.mark.parametrize("name", ["vit_b_16", "squeezenet1_1"])
def test_a_backbone_without_maps_is_refused_with_some_that_have_them(name: str) -> None:
    """A vision transformer takes one size only, SqueezeNet's pooling rounds its maps to other sizes."""
    with pytest.raises(ConfigError, match=f"`{name}` cannot feed a detector") as caught:
        maps_of(name)
    assert "mobilenet_v2" in str(caught.value.hint)


def test_maps_that_do_not_cover_the_input_exactly_are_refused() -> None:
    with pytest.raises(ConfigError, match="`300` pixels") as caught:
        maps_of("residual_cnn", (320, 300))
    assert "such as 288" in str(caught.value.hint)


@pytest.mark.slow
@pytest.mark.parametrize("name", ABLE)
def test_those_named_in_the_hint_have_all_three_maps(name: str) -> None:
    assert maps_of(name).strides == (8, 16, 32)
