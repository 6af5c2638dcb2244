"""Whether training computes in bfloat16: asked for, or decided by a short probe of this network on this machine."""

import copy
import time
from collections.abc import Callable, Mapping

import msgspec
import torch
from torch import Tensor, nn

from edgetl.finetune.cache.compute import native_bf16
from edgetl.finetune.training.config import LoopConfig, Value
from edgetl.machine import detect
from edgetl.tasks.images import ImageInput

PROBE_BATCH, PROBE_STEPS = 8, 4
"""The fastest of so many steps each way counts, in turns, so that a busy moment hits both."""

GAIN = 1.05
"""bfloat16 must be faster by this much to be worth its rounding."""


class PrecisionChoice(msgspec.Struct, frozen=True, kw_only=True):
    """`seconds`: of the fastest probed step, by precision; empty where nothing had to be probed."""

    bf16: bool
    seconds: dict[str, float] = {}

    def facts(self) -> dict[str, Value]:
        probed = {f"step_seconds {name}": value for name, value in self.seconds.items()}
        return {"training": "torch-bf16" if self.bf16 else "torch-fp32", **probed}


def choose_precision(
    model: nn.Module,
    batch: Callable[[], Tensor],
    config: LoopConfig,
    device: torch.device,
    known: Mapping[str, Value],
) -> PrecisionChoice:
    """What `config.precision` asks for; `auto` probes where the hardware multiplies bfloat16 itself.

    `batch` makes what the probe feeds to `model`; it may draw from torch's generator, which stays as it was.
    `known`: the facts of an interrupted training, which goes on as it began.
    """
    if known:
        seconds = {key.split()[1]: float(value) for key, value in known.items() if key.startswith("step_seconds ")}
        return PrecisionChoice(bf16=known["training"] == "torch-bf16", seconds=seconds)
    if config.precision != "auto":
        return PrecisionChoice(bf16=config.precision == "bf16")
    if device.type == "cuda":
        return PrecisionChoice(bf16=torch.cuda.is_bf16_supported(including_emulation=False))
    if not native_bf16(detect()):
        return PrecisionChoice(bf16=False)
    seconds = _probe(model, batch)
    return PrecisionChoice(bf16=seconds["bf16"] * GAIN < seconds["fp32"], seconds=seconds)


def _probe(model: nn.Module, batch: Callable[[], Tensor]) -> dict[str, float]:
    """Seconds of a training step of a copy, random state untouched."""
    probed: nn.Module = copy.deepcopy(model).to(memory_format=torch.channels_last).train()
    for parameter in probed.parameters():
        parameter.requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        inputs = batch()
        seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
        for _ in range(PROBE_STEPS):
            for name, taken in seconds.items():
                began = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
                    loss = probed(inputs).float().square().mean()
                loss.backward()
                taken.append(time.perf_counter() - began)
    return {name: round(min(taken), 4) for name, taken in seconds.items()}


def random_pixels(spec: ImageInput) -> Tensor:
    """A batch for the probe of a network of images: normalised pixels (images, 3, height, width)."""
    pixels = torch.randn(PROBE_BATCH, 3, spec.height, spec.width)
    return pixels.contiguous(memory_format=torch.channels_last)
