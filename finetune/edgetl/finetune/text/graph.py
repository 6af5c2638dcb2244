"""The classifier as it ships: token ids and mask in, logits and probabilities out, the temperature inside."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from edgetl.tasks import TextClassification


class DeployedText(nn.Module):
    """`ids`, `mask` int64 (batch, length) → logits and probabilities, float32 (batch, labels)."""

    outputs: ClassVar[tuple[str, ...]] = ("logits", "probabilities")

    def __init__(self, model: nn.Module, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(ids, mask)
        return logits, torch.softmax(logits / self.temperature, dim=1)


def deploy(model: nn.Module, task: TextClassification) -> DeployedText:
    """`model` with the task's temperature, in evaluation mode; it shares its tensors with what is returned.

    `edgetl.finetune.graph.export_onnx(deployed, task.inputs, path)` writes it with any batch and length.
    """
    return DeployedText(model, task.temperature).eval()
