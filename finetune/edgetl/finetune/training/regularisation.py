"""What keeps a network from learning the training images by heart: dropout, mixed images, smoothed labels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.transforms import v2

from edgetl.errors import ConfigError
from edgetl.finetune.training.config import LoopConfig

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def criterion(config: LoopConfig, class_weights: NDArray[np.float32] | None) -> nn.Module:
    """Cross-entropy, with `class_weights` (labels,) and label smoothing (Szegedy et al., CVPR 2016)."""
    weight = None if class_weights is None else torch.from_numpy(class_weights)
    return nn.CrossEntropyLoss(weight=weight, label_smoothing=config.label_smoothing)


def mixing(config: LoopConfig, classes: int, *, pixels: bool) -> Mix:
    """Mixup (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019) of a batch, as torchvision has them.

    Raises ConfigError for CutMix of activations, which have no places to cut.
    """
    if config.cutmix and not pixels:
        hint = "activations at a frozen boundary can be mixed with `--mixup`"
        raise ConfigError("`--cutmix` needs pixels", hint=hint)
    chosen: list[Any] = [v2.MixUp(alpha=config.mixup, num_classes=classes)] if config.mixup else []
    chosen += [v2.CutMix(alpha=config.cutmix, num_classes=classes)] if config.cutmix else []
    if not chosen:
        return lambda batch, targets: (batch, targets)
    transform = v2.RandomChoice(chosen)

    def mix(batch: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        mixed: tuple[Tensor, Tensor] = transform(batch, targets)
        return mixed

    return mix


def head_dropout(head: nn.Linear, rate: float) -> Callable[[], None]:
    """Drops features before `head` while it trains; the result takes it away again. The network stays as it is.

    Srivastava et al., "Dropout", JMLR 2014.
    """

    def drop(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (nn.functional.dropout(inputs[0], rate, module.training), *inputs[1:])

    return head.register_forward_pre_hook(drop).remove
