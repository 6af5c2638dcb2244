"""The frozen part of a network as a function from uint8 pixels to its outputs, on whatever computes it cheapest."""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor, nn

from edgetl.finetune.cache.compute import Choice
from edgetl.finetune.graph import DeployedModel, deploy, export_onnx
from edgetl.runtime.engines import open_engine
from edgetl.tasks import ImageClassification
from edgetl.types import Array, Pixels

BATCH = 8
"""Images at a time on a CPU: larger batches lose more to page faults than they gain."""

CUDA_BATCH = 256

Frozen = Callable[[Pixels], Array]


def frozen_part(module: nn.Module, task: ImageClassification, choice: Choice) -> Frozen:
    """`module` in evaluation mode behind the task's normalisation; the rows it gives are as `row_dtype` says."""
    model = deploy(module, task)
    if choice.kind == "onnxruntime-fp32":
        return _engine(model, task)
    device = "cuda" if choice.kind.startswith("cuda") else "cpu"
    dtype = torch.bfloat16 if choice.kind.endswith("bf16") else torch.float32
    frozen: Any = copy.deepcopy(model.model).to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    normalise = model.to(device).normalise if device == "cuda" else model.normalise

    def run(batch: Pixels) -> Array:
        with torch.inference_mode():
            pixels = normalise(torch.from_numpy(batch).to(device))
            return to_rows(frozen(pixels.to(dtype).contiguous(memory_format=torch.channels_last)))

    return run


def _engine(model: DeployedModel, task: ImageClassification) -> Frozen:
    """As ONNX in ONNX Runtime; the output `logits` is whatever the module gives."""
    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
        path = Path(folder) / "frozen.onnx"
        export_onnx(model, task.inputs, path)
        engine = open_engine("onnxruntime", path, {})
    return lambda batch: engine.run({"image": batch})["logits"]


def row_dtype(choice: Choice) -> DTypeLike:
    """How rows are kept: numpy has no bfloat16, so its 16 bits stand as uint16."""
    return np.uint16 if choice.kind.endswith("bf16") else np.float32


def to_rows(outputs: Tensor) -> Array:
    plain = outputs.detach().cpu().contiguous()
    return np.asarray(plain.view(torch.uint16).numpy() if plain.dtype == torch.bfloat16 else plain.numpy())


def from_rows(rows: Array) -> Tensor:
    """Rows as a float32 tensor of the same shape."""
    tensor = torch.from_numpy(np.ascontiguousarray(rows))
    return tensor.view(torch.bfloat16).float() if tensor.dtype == torch.uint16 else tensor


def output_shape(module: nn.Module, task: ImageClassification) -> tuple[int, ...]:
    """The shape of the module's output for one image."""
    with torch.inference_mode():
        outputs = module.eval()(torch.zeros(1, 3, task.input.height, task.input.width))
    return tuple(outputs.shape[1:])
