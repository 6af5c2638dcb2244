"""Which parameter learns at which rate, and with how much weight decay, at every step."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from edgetl.finetune.backbones.stages import Stage
from edgetl.finetune.training.config import LoopConfig


def parameter_groups(model: nn.Module, stages: Sequence[Stage], config: LoopConfig) -> list[dict[str, Any]]:
    """One group a stage, twice: weights decay, norms and biases do not. `scale` is the stage's part of the rate.

    Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019; without decay on vectors as in
    Goyal et al., "Accurate, Large Minibatch SGD", 2017.
    """
    named = dict(model.named_parameters())
    groups: list[dict[str, Any]] = []
    for depth, stage in enumerate(stages):
        own = [named[name] for name in stage.parameters]
        scale = config.rate_decay ** (len(stages) - 1 - depth)
        groups.append({"params": [p for p in own if p.ndim > 1], "scale": scale, "weight_decay": config.weight_decay})
        groups.append({"params": [p for p in own if p.ndim <= 1], "scale": scale, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def set_rates(optimizer: torch.optim.Optimizer, config: LoopConfig, step: int, total: int) -> None:
    """Sets every group's learning rate for `step` (from 0) of `total`."""
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * group["scale"] * schedule(step, total, config.warmup)


def schedule(step: int, total: int, warmup: float) -> float:
    """A linear warm-up over the first part, then half a cosine to zero: Loshchilov & Hutter, "SGDR", ICLR 2017."""
    rising = max(1, round(warmup * total))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))
