"""The architectures edgetl knows by name, and their two parts: a feature extractor and a linear head."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import torch
import torchvision
from torch import nn

from edgetl.errors import ConfigError, suggest
from edgetl.finetune.backbones.residual_cnn import ResidualCnn
from edgetl.plugins import require
from edgetl.tasks.images import ImageInput

TIMM = "timm:"
"""What a name starts with that timm is to build."""


class InputRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """What the weights of a backbone expect: geometry, and normalisation on the 0–1 scale."""

    input: ImageInput
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Backbone(msgspec.Struct, frozen=True, kw_only=True):
    """`build(num_classes)` gives the module with random weights; its last Linear is the head.

    `expects(newest)` is the recipe of the published weights, `smallest` the least side in pixels, `fixed_size` says
    that no other side than the recipe's is possible. The rest is how files of the library differ from the module:
    `renamed` (old, new) parts of keys; `left_out` keys that start so are of auxiliary heads; `foreign_head` those of
    a head of another kind, which a linear head replaces; `head_without_bias` says that the file's head has none.
    """

    name: str
    build: Callable[[int], nn.Module]
    published: bool
    expects: Callable[[bool], InputRecipe]
    smallest: int = 1
    fixed_size: bool = False
    renamed: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()
    foreign_head: str | None = None
    head_without_bias: bool = False


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """How edgetl builds the architectures of one torchvision module, where it differs from torchvision's default.

    `options` go to the builder, `sized(side)` too; `finish(model, classes)` replaces what is no linear head.
    """

    options: Mapping[str, object] = {}
    sized: Callable[[int], Mapping[str, object]] | None = None
    finish: Callable[[nn.Module, int], None] | None = None
    any_size: bool = False
    renamed: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()
    foreign_head: str | None = None
    head_without_bias: bool = False


def _pooled_linear_head(model: nn.Module, classes: int) -> None:
    """SqueezeNet's own head is a convolution, a ReLU and a mean: its logits cannot be negative."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(512, classes))
    model.set_submodule("classifier", head)


def _head_with_bias(model: nn.Module, classes: int) -> None:
    """A fitted head has a bias; with zeros in it the function is that of the head without."""
    old = head_of(model)
    new = nn.Linear(old.in_features, classes)
    new.load_state_dict({"weight": old.weight, "bias": torch.zeros_like(new.bias)})
    model.set_submodule(head_name(model), new)


# torchvision's weights for both were ported from TensorFlow, whose normalisation `transform_input` restores.
# `init_weights` is explicit: left out it warns, and True costs two seconds of truncated normals.
INCEPTION = {"aux_logits": False, "transform_input": True, "init_weights": False}

FAMILIES = {
    "googlenet": Family(options=INCEPTION, left_out=("aux1.", "aux2.")),
    "inception": Family(options=INCEPTION, left_out=("AuxLogits.",)),
    "densenet": Family(renamed=((".norm.1.", ".norm1."), (".norm.2.", ".norm2."), (".conv.1.", ".conv1."),
                                (".conv.2.", ".conv2."))),
    "squeezenet": Family(finish=_pooled_linear_head, foreign_head="classifier.1."),
    "swin_transformer": Family(any_size=True),
    "vision_transformer": Family(
        sized=lambda side: {"image_size": side},
        renamed=((".mlp.linear_1.", ".mlp.0."), (".mlp.linear_2.", ".mlp.3.")),
    ),
    "maxvit": Family(
        sized=lambda side: {"input_size": (side, side)}, finish=_head_with_bias, head_without_bias=True
    ),
}  # fmt: skip


def _torchvision(name: str) -> Backbone:
    family = FAMILIES.get(torchvision.models.get_model_builder(name).__module__.rpartition(".")[2], Family())
    newest = torchvision.models.get_model_weights(name).DEFAULT
    smallest: int = newest.meta["min_size"][0]
    options = {**family.options, **(family.sized(smallest) if family.sized else {})}

    def build(classes: int) -> nn.Module:
        model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
        if family.finish is not None:
            family.finish(model, classes)
        return without_inplace_dropout(model)

    return Backbone(
        name=name,
        build=build,
        published=True,
        expects=lambda newest: _preset(name, newest),
        smallest=1 if family.any_size else smallest,
        fixed_size=family.sized is not None,
        renamed=family.renamed,
        left_out=family.left_out,
        foreign_head=family.foreign_head,
        head_without_bias=family.head_without_bias,
    )


def without_inplace_dropout(model: nn.Module) -> nn.Module:
    """The same function; in place, a dropout in front of the head would overwrite activations that are kept."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.inplace = False
    return model


def _entry(name: str, newest: bool) -> Any:
    entries = torchvision.models.get_model_weights(name)
    return entries.DEFAULT if newest else next(iter(entries))


def _preset(name: str, newest: bool) -> InputRecipe:
    preset = _entry(name, newest).transforms()
    side, resize = preset.crop_size[0], preset.resize_size[0]
    geometry = ImageInput(height=side, width=side, resize=resize, interpolation=preset.interpolation.value)
    return InputRecipe(input=geometry, mean=tuple(preset.mean), std=tuple(preset.std))


def _small_images(newest: bool) -> InputRecipe:
    geometry = ImageInput(height=32, width=32, resize=32)
    return InputRecipe(input=geometry, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


BACKBONES = {
    backbone.name: backbone
    for backbone in (
        *map(_torchvision, torchvision.models.list_models(module=torchvision.models)),
        Backbone(name="residual_cnn", build=ResidualCnn, published=False, expects=_small_images),
    )
}
"""Every classification architecture of torchvision, and the own one. `get_backbone` also knows `timm:NAME`."""


def get_backbone(name: str) -> Backbone:
    """The backbone called `name`; `timm:NAME` is built by timm.

    Raises ConfigError with the closest name, DependencyError when timm is not installed.
    """
    if name.startswith(TIMM):
        require("timm", "timm")
        from edgetl.finetune.backbones.timm import timm_backbone

        return timm_backbone(name.removeprefix(TIMM))
    if name not in BACKBONES:
        raise ConfigError(f"unknown backbone `{name}`", hint=suggest(name, BACKBONES))
    return BACKBONES[name]


def published_weights(backbone: Backbone, *, newest: bool) -> Any:
    """torchvision's weights entry: the newest (its `DEFAULT`), else the first that was published."""
    return _entry(backbone.name, newest)


def recipe(backbone: Backbone, *, newest: bool = False, size: int | None = None) -> InputRecipe:
    """The input recipe of the weights published for this backbone; `size` replaces the crop in proportion.

    Raises ConfigError for a size the architecture cannot take.
    """
    found = backbone.expects(newest)
    side = found.input.height
    if size is None or size == side:
        return found
    if backbone.fixed_size:
        raise ConfigError(
            f"`{backbone.name}` takes images of {side} pixels only, not {size}", hint="leave out `--size`"
        )
    if size < backbone.smallest:
        raise ConfigError(
            f"`{backbone.name}` cannot take images of {size} pixels", hint=f"`--size {backbone.smallest}` or more"
        )
    geometry = msgspec.structs.replace(
        found.input, height=size, width=size, resize=max(size, round(found.input.resize * size / side))
    )
    return msgspec.structs.replace(found, input=geometry)


def head_name(model: nn.Module) -> str:
    """Dotted name of the classifier proper: what timm's models say it is, else the last Linear layer.

    Raises ConfigError when that is no single Linear.
    """
    own = getattr(model, "get_classifier", None)
    wanted = own() if callable(own) else None
    linear: list[str] = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    found = linear[-1:] if wanted is None else [name for name in linear if model.get_submodule(name) is wanted]
    if not found:
        raise ConfigError(f"`{type(model).__name__}` has no head of one linear layer", hint="choose another backbone")
    return found[0]


def head_of(model: nn.Module) -> nn.Linear:
    head = model.get_submodule(head_name(model))
    assert isinstance(head, nn.Linear)
    return head
