"""The one path from torch to ONNX: uint8 pixels in, everything the device must not get wrong inside."""

import copy
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from edgetl.errors import ArtefactError, ConfigError
from edgetl.finetune.backbones.registry import head_name
from edgetl.tasks import ImageClassification
from edgetl.tasks.normalisation import Normalisation, normalisation
from edgetl.types import Array, Pixels, TensorSpec

OPSET = 20
OPSETS = range(18, 24)
"""What torch's exporter has operators of its own for; beyond, it leaves the graph to a converter."""

EXAMPLE = {"batch": 2}
"""How long a dynamic axis is while the graph is traced."""

OUTPUTS = ("logits", "probabilities")
EMBEDDING = "embedding"

MAX_BYTES = 2**31 - 2**20
"""A protobuf message, and so an ONNX file without a second one for the weights, ends at 2 GiB."""


class DeployedModel(nn.Module):
    """A model as it ships: (batch, height, width, 3) uint8 RGB → logits and probabilities, (batch, labels) float32.

    With a `head`, `model` is what comes before it, and a third output is the head's input, (batch, width) float32.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self, model: nn.Module, pixels: Normalisation, temperature: float = 1.0, head: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.head = head
        self.swap = pixels.swap
        self.temperature = temperature
        self.register_buffer("scale", torch.tensor(pixels.scale).view(1, 3, 1, 1))
        self.register_buffer("shift", torch.tensor(pixels.shift).view(1, 3, 1, 1))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what `forward` returns, in its order."""
        return OUTPUTS if self.head is None else (*OUTPUTS, EMBEDDING)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        features = self.model(self.normalise(image))
        logits = features if self.head is None else self.head(features)
        answers = logits, torch.softmax(logits / self.temperature, dim=1)
        return answers if self.head is None else (*answers, features)

    def normalise(self, image: Tensor) -> Tensor:
        # contiguous(): without it the permuted tensor counts as channels-last, and torch.export writes the
        # mean pooling of such a tensor as a gather by computed strides
        pixels = image.flip(-1) if self.swap else image
        scaled: Tensor = pixels.permute(0, 3, 1, 2).contiguous().float() * self.scale + self.shift
        return scaled


def deploy(
    model: nn.Module, task: ImageClassification, pixels: Normalisation | None = None, *, embedding: bool = False
) -> DeployedModel:
    """`model` with the task's normalisation (or another, to answer under a hypothesis) and its temperature.

    With `embedding` the penultimate features are a third output. `model` is not changed but for being put into
    evaluation mode, and shares its tensors with what is returned. Raises ConfigError for a model without a head.
    """
    right = pixels or normalisation(task.mean, task.std)
    if not embedding:
        return DeployedModel(model, right, task.temperature).eval()
    name = head_name(model.eval())
    return DeployedModel(_without_head(model, name), right, task.temperature, model.get_submodule(name)).eval()


def _without_head(model: nn.Module, name: str) -> nn.Module:
    """`model` up to its head: other modules, the same tensors."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    features = copy.deepcopy(model, tensors)
    features.set_submodule(name, nn.Identity())
    return features


def torch_predictor(
    model: nn.Module, task: ImageClassification, pixels: Normalisation | None = None
) -> Callable[[Pixels], Array]:
    """Torch FP32 as a function from uint8 (batch, height, width, 3) to logits (batch, labels)."""
    deployed = deploy(model, task, pixels)

    def predict(batch: Pixels) -> Array:
        with torch.inference_mode():
            # torch warns of memory it may not write to, as of a mapped file
            logits: Array = deployed(torch.from_numpy(batch if batch.flags.writeable else batch.copy()))[0].numpy()
        return logits

    return predict


class Deployed(Protocol):
    """A module as it ships; `outputs` are the names of what `forward` returns."""

    @property
    def outputs(self) -> tuple[str, ...]: ...


def export_onnx(model: nn.Module, inputs: Sequence[TensorSpec], path: Path, *, opset: int = OPSET) -> None:
    """Writes one self-contained ONNX file of the module `model`, whose `outputs` name what it returns.

    The axes of `inputs` that have a name are dynamic. Raises ConfigError for another opset than 18 to 23,
    ArtefactError for a model that one file cannot hold.
    """
    _check(model, opset)
    examples = tuple(_example(spec) for spec in inputs)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # torch's own exporter uses what torch deprecates
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        # two inputs whose batch has one name: that is what is wanted
        warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
        program = torch.onnx.export(
            model,
            examples,
            dynamo=True,
            opset_version=opset,
            input_names=[spec.name for spec in inputs],
            output_names=list(cast(Deployed, model).outputs),
            dynamic_shapes=_dynamic(inputs),
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)


def _example(spec: TensorSpec) -> Tensor:
    """A tensor to trace with; a dynamic axis has a length that no fixed one is likely to have."""
    shape = [axis if isinstance(axis, int) else EXAMPLE.get(axis, 7) for axis in spec.shape]
    return torch.ones(shape, dtype=getattr(torch, spec.dtype))


def _dynamic(inputs: Sequence[TensorSpec]) -> dict[str, dict[int, Any]]:
    """Which axes are dynamic; those of one name are of one length."""
    names = dict.fromkeys(axis for spec in inputs for axis in spec.shape if isinstance(axis, str))
    axes = {name: torch.export.Dim(name, min=1) for name in names}
    return {spec.name: {i: axes[axis] for i, axis in enumerate(spec.shape) if isinstance(axis, str)} for spec in inputs}


def _check(model: nn.Module, opset: int) -> None:
    if opset not in OPSETS:
        raise ConfigError(
            f"torch's exporter does not write opset `{opset}`", hint=f"choose one from {OPSETS[0]} to {OPSETS[-1]}"
        )
    size = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    if size > MAX_BYTES:
        name = type(getattr(model, "model", model)).__name__
        raise ArtefactError(
            f"`{name}` has {size / 2**30:.1f} GiB of weights, and one ONNX file holds 2 GiB",
            hint="choose a smaller backbone",
        )
