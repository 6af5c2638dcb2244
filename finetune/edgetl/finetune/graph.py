"""The one path from torch to ONNX: uint8 pixels in, everything the device must not get wrong inside."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from edgetl.tasks import Task
from edgetl.tasks.normalisation import Normalisation, normalisation
from edgetl.types import Array, Pixels

OPSET = 20
INPUT = "image"


class DeployedModel(nn.Module):
    """A model as it ships: (batch, height, width, 3) uint8 RGB → logits and probabilities, (batch, labels) float32."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, pixels: Normalisation, temperature: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.swap = pixels.swap
        self.temperature = temperature
        self.register_buffer("scale", torch.tensor(pixels.scale).view(1, 3, 1, 1))
        self.register_buffer("shift", torch.tensor(pixels.shift).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(self.normalise(image))
        return logits, torch.softmax(logits / self.temperature, dim=1)

    def normalise(self, image: Tensor) -> Tensor:
        # contiguous(): without it the permuted tensor counts as channels-last, and torch.export writes the
        # mean pooling of such a tensor as a gather by computed strides
        pixels = image.flip(-1) if self.swap else image
        scaled: Tensor = pixels.permute(0, 3, 1, 2).contiguous().float() * self.scale + self.shift
        return scaled


def deploy(model: nn.Module, task: Task, pixels: Normalisation | None = None) -> DeployedModel:
    """`model` with the task's normalisation (or another, to answer under a hypothesis) and its temperature."""
    right = normalisation(task.mean, task.std)
    return DeployedModel(model, pixels or right, task.temperature).eval()


def torch_predictor(model: nn.Module, task: Task, pixels: Normalisation | None = None) -> Callable[[Pixels], Array]:
    """Torch FP32 as a function from uint8 (batch, height, width, 3) to logits (batch, labels)."""
    deployed = deploy(model, task, pixels)

    def predict(batch: Pixels) -> Array:
        with torch.inference_mode():
            logits: Array = deployed(torch.from_numpy(batch))[0].numpy()
        return logits

    return predict


def export_onnx(model: DeployedModel, height: int, width: int, path: Path) -> None:
    """Writes one self-contained ONNX file with a dynamic batch and a fixed spatial size."""
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # torch's own exporter uses what torch deprecates
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=["logits", "probabilities"],
            dynamic_shapes={"image": {0: torch.export.Dim("batch", min=1)}},
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)
