"""Backbones built by timm, an optional library: `timm:NAME`, and the input recipe its configuration states."""

import math
from typing import Any

import timm
from torch import nn

from edgetl.errors import ConfigError, suggest
from edgetl.finetune.backbones.registry import TIMM, Backbone, InputRecipe, without_inplace_dropout
from edgetl.tasks.images import RESAMPLING, ImageInput


def timm_backbone(name: str) -> Backbone:
    """timm's architecture `name`, with or without the tag of its weights (`resnet18`, `resnet18.a1_in1k`).

    Only names of timm's own registry: `hf-hub:` and the like, which read the network, are unknown here.
    Raises ConfigError with the closest name.
    """
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise ConfigError(f"timm has no model `{name}`", hint=suggest(architecture, timm.list_models()))
    tagged = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tagged:
        raise ConfigError(f"timm has no weights `{name}`", hint=suggest(name, tagged, what="published"))

    def build(classes: int) -> nn.Module:
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes)
        return without_inplace_dropout(model)

    config: Any = timm.get_pretrained_cfg(name)
    return Backbone(
        name=TIMM + name,
        build=build,
        published=False,
        expects=lambda newest: _recipe(name, config),
        fixed_size=bool(config.fixed_input_size),
        smallest=config.min_input_size[1] if config.min_input_size else 1,
    )


def _recipe(name: str, config: Any) -> InputRecipe:
    """timm's evaluation transform: the resize is the crop divided by `crop_pct`, rounded down."""
    channels, height, width = config.input_size
    whole = config.crop_mode == "squash" and config.crop_pct == 1
    if channels != 3 or not (whole or config.crop_mode == "center") or config.interpolation not in RESAMPLING:
        stated = f"{channels} channels, crop `{config.crop_mode}`, interpolation `{config.interpolation}`"
        raise ConfigError(f"`{TIMM}{name}` wants an input edgetl cannot prepare: {stated}", hint="choose another model")
    geometry = ImageInput(
        height=height,
        width=width,
        resize=max(height, width, math.floor(min(height, width) / config.crop_pct)),
        mode="squash" if whole else "crop",
        interpolation=config.interpolation,
    )
    return InputRecipe(input=geometry, mean=tuple(config.mean), std=tuple(config.std))
