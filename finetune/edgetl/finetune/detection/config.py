"""How a detector is trained: every default in one place, and the strategies that change them."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from edgetl.errors import ConfigError, suggest
from edgetl.files import configured
from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.strategies import AUTO
from edgetl.finetune.training.config import LoopConfig, Value

Augment = Literal["none", "flip", "zoom-crop", "top-down"]


class DetectionLoop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """AdamW with warm-up and a cosine to zero; norms and biases never decay. Fractions are of 1.

    `backbone_rate`: the pretrained backbone's part of the learning rate. `freeze`: the part of the backbone, from the
    stem on, that never learns. `batch_norm`: whether the backbone's norms follow the batches (train) or keep the
    source's statistics. `ema`: decay of the moving average of the weights, 0 for none. `clip_norm`: largest gradient
    norm, 0 for any. `patience`: judgements without a better held-out score before it ends, 0 to never stop early.
    `hold_out`: part of train set aside for choices when `val` is the headline. `augment`: `zoom-crop` cuts, shrinks
    and flips photos and changes their light, `top-down` turns them as well, where no side is up.
    """

    epochs: int = 80
    batch_size: int = 8
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.05
    backbone_rate: float = 0.3
    freeze: float = 0.0
    batch_norm: Literal["train", "frozen"] = "frozen"
    ema: float = 0.99
    clip_norm: float = 10.0
    augment: Augment = "zoom-crop"
    patience: int = 5
    hold_out: float = 0.15
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"`{name}` is {value}, it lies between {low:g} and {high:g}")


BOUNDS: Mapping[str, tuple[float, float]] = {
    "epochs": (1, 100_000),
    "batch_size": (1, 65_536),
    "learning_rate": (1e-9, 10.0),
    "warmup": (0.0, 1.0),
    "weight_decay": (0.0, 10.0),
    "backbone_rate": (0.0, 1.0),
    "freeze": (0.0, 1.0),
    "ema": (0.0, 0.999999),
    "clip_norm": (0.0, 1e6),
    "patience": (0, 100_000),
    "hold_out": (0.0, 0.5),
}


class DetectionStrategy(msgspec.Struct, frozen=True, kw_only=True):
    """What is learned; `loop`: the defaults it changes. `weights`: whether it starts from weights."""

    summary: str
    loop: Mapping[str, Value] = {}
    weights: bool = True
    trains: bool = True


STRATEGIES = {
    "fine-tune": DetectionStrategy(summary="the detector's own layers, and the backbone at a part of their rate"),
    "feature-extraction": DetectionStrategy(
        summary="the detector's own layers on a frozen backbone", loop={"freeze": 1.0}
    ),
    "partial": DetectionStrategy(summary="the first half of the backbone stays frozen", loop={"freeze": 0.5}),
    "from-scratch": DetectionStrategy(
        summary="the architecture only, from random weights",
        loop={"backbone_rate": 1.0, "batch_norm": "train", "epochs": 160},
        weights=False,
    ),
    "none": DetectionStrategy(summary="the weights of a detector as they are", trains=False),
}


def strategy_of(config: FinetuneConfig) -> str:
    """The strategy asked for; `auto` is `fine-tune` where there are weights, else `from-scratch`. Raises ConfigError.

    A detector on few photos gains from a backbone that learns too: Kornblith et al., "Do Better ImageNet Models
    Transfer Better?", CVPR 2019, find fine-tuning ahead of fixed features on nearly every set.
    """
    if config.strategy == AUTO:
        return "from-scratch" if config.weights == "none" else "fine-tune"
    if config.strategy not in STRATEGIES:
        hint = suggest(config.strategy, (AUTO, *STRATEGIES), what="for detection")
        raise ConfigError(f"detection has no strategy `{config.strategy}`", hint=hint)
    return config.strategy


def detection_loop(config: FinetuneConfig, strategy: str) -> DetectionLoop:
    """The strategy's training with what the user changed. Raises ConfigError for what detection does not take."""
    known = set(DetectionLoop.__struct_fields__)
    others = [name for name in config.loop if name not in known and name in LoopConfig.__struct_fields__]
    if others:
        hint = f"detection takes {', '.join(f'`{name}`' for name in sorted(known))}"
        raise ConfigError(f"`{others[0]}` means nothing for detection", hint=hint)
    given: dict[str, Value] = dict(config.loop)
    if isinstance(given.get("freeze"), str):
        given["freeze"] = _part(str(given["freeze"]))
    if given and not STRATEGIES[strategy].trains:
        raise ConfigError(f"`{strategy}` trains nothing, so `{sorted(given)[0]}` has no effect", hint="leave it out")
    return configured({**STRATEGIES[strategy].loop, **given}, DetectionLoop)


def _part(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        hint = "for detection it is a part of the backbone, from 0 to 1"
        raise ConfigError(f"`freeze` cannot be `{text}`", hint=hint) from error


def check_options(config: FinetuneConfig) -> None:
    """Refuses what only other tasks can do. Raises ConfigError."""
    if config.labels is not None:
        raise ConfigError("`--labels` means nothing for detection", hint="the annotations name the classes")
    if config.compare_scratch:
        hint = "`--strategy from-scratch` trains a second run to compare with"
        raise ConfigError("`--compare-scratch` is not for detection", hint=hint)
    if config.strategy == "from-scratch" and config.weights not in ("default", "none"):
        raise ConfigError("`from-scratch` takes no `--weights`", hint="`--strategy fine-tune` starts from weights")
