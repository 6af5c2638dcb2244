"""Short quantisation-aware training: the weights learn to live with the rounding, taught by the fp32 network.

References: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018 (fake quantisation, straight-through gradients); Polino et al., "Model compression via
distillation and quantization", ICLR 2018 (the fp32 network's answers as targets, so no labels are needed).
"""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax
from torch.nn.utils import parametrize

from edgetl.finetune.graph import DeployedModel
from edgetl.tasks.inputs import Inputs
from edgetl.types import Track, silent

IMAGES = 1536
"""Training ends after so many images, however few there are: a minute for MobileNetV2 on two cores."""

BATCH = 16
RATE = 3e-5
WARM_UP = 8
"""Batches that only set the activations' ranges."""

MOMENTUM = 0.9
LAYERS = (nn.Conv2d, nn.Linear)


class _RoundedWeight(nn.Module):
    """int8 with one scale for each output channel. Batch-norm after it is a factor on the channel, so folding it
    later changes nothing.
    """

    def forward(self, weight: Tensor) -> Tensor:
        scale = weight.detach().flatten(1).abs().amax(1).clamp(min=1e-12) / 127
        zero = torch.zeros(len(scale), dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127, 127)


class _RoundedInput(nn.Module):
    """uint8 with the running range of what came through."""

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(0.0))
        self.rounds = False

    def forward(self, values: Tensor) -> Tensor:
        low, high = torch.aminmax(values.detach())
        first = bool(self.high <= self.low)
        share = 0.0 if first else MOMENTUM
        self.low.mul_(share).add_((1 - share) * low.clamp(max=0))
        self.high.mul_(share).add_((1 - share) * high.clamp(min=0))
        if not self.rounds:
            return values
        scale = float((self.high - self.low).clamp(min=1e-9) / 255)
        return torch.fake_quantize_per_tensor_affine(values, scale, round(float(-self.low) / scale), 0, 255)


def train_quantised(
    deployed: DeployedModel, calibration: Inputs, seed: int, *, images: int = IMAGES, track: Track = silent
) -> DeployedModel:
    """A copy of `deployed` whose weights were trained under quantisation on the images of `calibration`.

    Deterministic for a seed and a number of threads. Batch-norm keeps its statistics.
    """
    student = copy.deepcopy(deployed).eval().requires_grad_(True)
    inputs = _attach(student)
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], RATE, weight_decay=0.0)
    pixels = calibration.feeds["image"]
    batches = _batches(len(pixels), images, seed)
    for number, chosen in enumerate(track(batches, "train under quantisation", len(batches))):
        batch = torch.from_numpy(np.ascontiguousarray(pixels[chosen]))
        with torch.no_grad():
            target = deployed(batch)[0]
            if number < WARM_UP:
                student(batch)
                continue
        for each in inputs:
            each.rounds = True
        loss = kl_div(log_softmax(student(batch)[0], 1), log_softmax(target, 1), reduction="batchmean", log_target=True)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
    return _detach(student, inputs)


def _batches(count: int, images: int, seed: int) -> list[np.ndarray]:
    """Indices of each batch: the images in shuffled order, again and again, until enough were seen."""
    rng = np.random.default_rng(seed)
    rounds = -(-(images + WARM_UP * BATCH) // count)
    order = np.concatenate([rng.permutation(count) for _ in range(rounds)])
    return [order[i : i + BATCH] for i in range(0, images + WARM_UP * BATCH, BATCH)]


def _attach(model: nn.Module) -> list[_RoundedInput]:
    inputs = []
    for layer in [module for module in model.modules() if isinstance(module, LAYERS)]:
        parametrize.register_parametrization(layer, "weight", _RoundedWeight())
        rounded = _RoundedInput()
        layer.register_forward_pre_hook(lambda _, args, rounded=rounded: (rounded(args[0]), *args[1:]))
        inputs.append(rounded)
    return inputs


def _detach(model: DeployedModel, inputs: list[_RoundedInput]) -> DeployedModel:
    """The trained weights in a fresh copy of the network, without hooks and roundings."""
    for layer in [module for module in model.modules() if isinstance(module, LAYERS)]:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        layer._forward_pre_hooks.clear()
    return model.eval()
