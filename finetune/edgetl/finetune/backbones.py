"""The architectures edgetl knows by name, and their two parts: a feature extractor and a linear head."""

from collections.abc import Callable
from typing import Any

import msgspec
import torchvision
from torch import nn

from edgetl.errors import ConfigError, suggest
from edgetl.finetune.residual_cnn import ResidualCnn
from edgetl.tasks.images import ImageInput

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class InputRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """What the weights of a backbone expect: geometry, and normalisation on the 0–1 scale."""

    input: ImageInput
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Backbone(msgspec.Struct, frozen=True, kw_only=True):
    """`build(num_classes)` gives the module with random weights; its last Linear is the head."""

    name: str
    build: Callable[[int], nn.Module]
    published: bool


def _torchvision(name: str) -> Backbone:
    def build(classes: int) -> nn.Module:
        model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
        return model

    return Backbone(name=name, build=build, published=True)


BACKBONES = {
    backbone.name: backbone
    for backbone in (
        *map(
            _torchvision,
            (
                "mobilenet_v2",
                "mobilenet_v3_small",
                "mobilenet_v3_large",
                "resnet18",
                "resnet50",
                "efficientnet_b0",
                "regnet_y_400mf",
                "shufflenet_v2_x1_0",
                "densenet121",
            ),
        ),
        Backbone(name="residual_cnn", build=ResidualCnn, published=False),
    )
}


def get_backbone(name: str) -> Backbone:
    """The backbone called `name`. Raises ConfigError with the closest name."""
    if name not in BACKBONES:
        raise ConfigError(f"unknown backbone `{name}`", hint=suggest(name, BACKBONES))
    return BACKBONES[name]


def published_weights(backbone: Backbone, *, newest: bool) -> Any:
    """torchvision's weights entry: the newest (its `DEFAULT`), else the first that was published."""
    entries = torchvision.models.get_model_weights(backbone.name)
    return entries.DEFAULT if newest else next(iter(entries))


def recipe(backbone: Backbone, *, newest: bool = False, size: int | None = None) -> InputRecipe:
    """The input recipe of torchvision's weights for this backbone; `size` replaces the crop in proportion."""
    if not backbone.published:
        side = size or 32
        geometry = ImageInput(height=side, width=side, resize=side)
        return InputRecipe(input=geometry, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    preset = published_weights(backbone, newest=newest).transforms()
    crop, resize = preset.crop_size[0], preset.resize_size[0]
    side = size or crop
    geometry = ImageInput(
        height=side, width=side, resize=round(resize * side / crop), interpolation=preset.interpolation.value
    )
    return InputRecipe(input=geometry, mean=tuple(preset.mean), std=tuple(preset.std))


def head_name(model: nn.Module) -> str:
    """Dotted name of the last Linear layer, the classifier proper."""
    linear: list[str] = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return linear[-1]


def head_of(model: nn.Module) -> nn.Linear:
    head = model.get_submodule(head_name(model))
    assert isinstance(head, nn.Linear)
    return head
