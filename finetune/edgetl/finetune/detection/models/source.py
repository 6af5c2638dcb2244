"""What a detector starts from: a registry backbone with its weights, or a folder with a whole model of transformers."""

import json
from pathlib import Path
from typing import Any

import msgspec

from edgetl.errors import ArtefactError, ConfigError, first_line
from edgetl.finetune.backbones.registry import Backbone, InputRecipe, get_backbone, recipe
from edgetl.finetune.backbones.weights import Weights, read_weights
from edgetl.finetune.detection.models.architectures import get_architecture
from edgetl.finetune.detection.models.options import KINDS, DetectorOptions
from edgetl.tasks.images import ImageInput

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PREPROCESSOR = "preprocessor_config.json"


class DetectorSource(msgspec.Struct, frozen=True, kw_only=True):
    """`backbone` is None for a whole model, whose configuration is in `options`. `recipe`: what the weights expect."""

    backbone: Backbone | None
    weights: Weights
    options: DetectorOptions
    recipe: InputRecipe


def detector_source(architecture: str, backbone: str, weights: str, options: DetectorOptions) -> DetectorSource:
    """`backbone`: a name of the registry, or for rt-detr a folder with `config.json` and `model.safetensors`.

    `weights` as `read_weights` takes them; `default` in a folder is its own file.
    Raises ConfigError, ArtefactError, DependencyError.
    """
    folder = Path(backbone)
    if not (folder / CONFIG).is_file():
        found = get_backbone(backbone)
        return DetectorSource(
            backbone=found, weights=read_weights(found, weights), options=options,
            recipe=recipe(found, newest=weights == "default"),
        )  # fmt: skip
    if get_architecture(architecture).whole is None:
        raise ConfigError(f"`{architecture}` takes no whole model", hint="`--detector rt-detr` does")
    config = _json(folder / CONFIG)
    if config.get("model_type") not in KINDS:
        raise ArtefactError(
            f"`{folder / CONFIG}` is of a `{config.get('model_type')}`", hint=f"edgetl takes {', '.join(KINDS)}"
        )
    if options.width is not None:
        raise ConfigError("a whole model has its own width", hint="leave `width` out")
    return DetectorSource(
        backbone=None,
        weights=read_weights(get_backbone("residual_cnn"), _weights_of(folder, weights)),
        options=msgspec.structs.replace(options, transformers=config),
        recipe=_recipe(folder),
    )


def _weights_of(folder: Path, weights: str) -> str:
    """Only safetensors: nothing is unpickled."""
    if weights == "none":
        return weights
    path = folder / WEIGHTS if weights == "default" else Path(weights)
    if path.suffix != ".safetensors":
        raise ArtefactError(f"`{path}` is no safetensors file", hint=f"a whole model needs its `{WEIGHTS}`")
    return str(path)


def _recipe(folder: Path) -> InputRecipe:
    """As `preprocessor_config.json` says: RT-DETR and D-FINE stretch photos and do not normalise them."""
    said = _json(folder / PREPROCESSOR) if (folder / PREPROCESSOR).is_file() else {}
    size = said.get("size", {})
    height, width = int(size.get("height", 640)), int(size.get("width", 640))
    plain = not said.get("do_normalize", False)
    return InputRecipe(
        input=ImageInput(height=height, width=width, resize=max(height, width), mode="squash"),
        mean=(0.0, 0.0, 0.0) if plain else tuple(said["image_mean"]),
        std=(1.0, 1.0, 1.0) if plain else tuple(said["image_std"]),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise ArtefactError(f"`{path}` is no JSON: {first_line(error)}", hint="is it whole?") from error
    if not isinstance(found, dict):
        raise ArtefactError(f"`{path}` is no configuration", hint="is it of transformers?")
    return found
