"""Which of a detector's parameters learn, at which rate, and which norms follow the batches."""

from typing import Any

import torch
from torch import nn

from edgetl.finetune.detection.config import DetectionLoop
from edgetl.finetune.detection.models.detector import Detector, backbone_parameters
from edgetl.finetune.training.rates import schedule


def frozen_part(detector: Detector, config: DetectionLoop) -> set[nn.Parameter]:
    """The backbone's parameters that never learn: the first `freeze` of them, from the stem on."""
    own = backbone_parameters(detector)
    return set(own[: round(config.freeze * len(own))])


def parameter_groups(detector: Detector, frozen: set[nn.Parameter], config: DetectionLoop) -> list[dict[str, Any]]:
    """The backbone at a part of the rate, the rest at the whole; of both, vectors do not decay."""
    backbone = set(backbone_parameters(detector))
    groups: list[dict[str, Any]] = []
    for scale, within in ((config.backbone_rate, True), (1.0, False)):
        own = [p for p in detector.parameters() if (p in backbone) is within and p not in frozen]
        groups.append({"params": [p for p in own if p.ndim > 1], "scale": scale, "weight_decay": config.weight_decay})
        groups.append({"params": [p for p in own if p.ndim <= 1], "scale": scale, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def set_rates(optimizer: torch.optim.Optimizer, config: DetectionLoop, step: int, total: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * group["scale"] * schedule(step, total, config.warmup)


def set_learning(detector: Detector, frozen: set[nn.Parameter], config: DetectionLoop) -> None:
    """Frozen parameters get no gradient; their norms, and with `batch_norm = "frozen"` all of the backbone's, keep
    their statistics.
    """
    detector.train()
    for parameter in detector.parameters():
        parameter.requires_grad_(parameter not in frozen)
    for module in detector.body.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(config.batch_norm == "train" and module.weight not in frozen)
