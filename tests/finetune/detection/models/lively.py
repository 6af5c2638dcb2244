"""A detector whose answers differ from place to place, as a trained one's do, without the training."""

import torch
from torch import Tensor, nn

from edgetl.finetune.backbones.registry import get_backbone
from edgetl.finetune.detection.models.architectures import build_detector
from edgetl.finetune.detection.models.detector import Detector
from edgetl.finetune.detection.models.options import DetectorOptions

SIZE = (64, 96)


def lively(architecture: str, options: DetectorOptions | None = None) -> Detector:
    """Three labels; large random weights, and norms that have seen pictures."""
    model = build_detector(architecture, get_backbone("residual_cnn"), None, 3, SIZE, options=options)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "body" not in name:
            nn.init.kaiming_normal_(parameter)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.decode(noise(8))
    return model.eval()


def noise(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(seed))
