"""Where the frozen part runs: chosen from the machine, the model and the number of images, conversion included."""

from typing import Literal

import msgspec
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgetl.machine import Machine

Kind = Literal["torch-bf16", "torch-fp32", "onnxruntime-fp32", "cuda-bf16", "cuda-fp32"]


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds before the first image, and seconds per 10⁹ multiply-accumulates and core."""

    start: float
    per_gmac: float


# MobileNetV2 (0.30 GMAC) on 2 cores with AVX512: torch bf16 channels-last 372 images/s, torch fp32
# channels-last 98, ONNX Runtime 257 after an export of about 6 s.
# The two of a GPU only say that it comes first where there is one.
COSTS: dict[Kind, Cost] = {
    "torch-bf16": Cost(start=0.0, per_gmac=0.018),
    "torch-fp32": Cost(start=0.0, per_gmac=0.068),
    "onnxruntime-fp32": Cost(start=6.0, per_gmac=0.026),
    "cuda-bf16": Cost(start=0.0, per_gmac=0.0005),
    "cuda-fp32": Cost(start=0.0, per_gmac=0.001),
}

BF16_FEATURES = {"avx512-bf16", "amx-bf16", "bf16"}


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen, and the seconds expected of every candidate: recorded in the run."""

    kind: Kind
    expected_seconds: dict[str, float]


def choose(machine: Machine, gmacs: float, images: int, *, engine_installed: bool, exact: bool = False) -> Choice:
    """The cheapest way to run `images` through a model of `gmacs` 10⁹ multiply-accumulates.

    Deterministic: from a table, not from a stopwatch. bf16 counts only where the processor computes it natively, and
    never when the answers shall be `exact`.
    """
    candidates: list[Kind] = ["torch-fp32"]
    if native_bf16(machine) and not exact:
        candidates.append("torch-bf16")
    if torch.cuda.is_available():
        rough = not exact and torch.cuda.is_bf16_supported(including_emulation=False)
        candidates = ["cuda-bf16" if rough else "cuda-fp32"]
    if engine_installed and not torch.cuda.is_available():
        candidates.append("onnxruntime-fp32")
    expected = {
        kind: COSTS[kind].start + images * gmacs * COSTS[kind].per_gmac / max(1, machine.cores) for kind in candidates
    }
    best = min(candidates, key=lambda kind: expected[kind])
    return Choice(kind=best, expected_seconds={kind: round(value, 3) for kind, value in expected.items()})


def native_bf16(machine: Machine) -> bool:
    """Whether the processor multiplies bfloat16 itself."""
    return bool(BF16_FEATURES & set(machine.features))


def gmacs(model: nn.Module, height: int, width: int) -> float:
    """10⁹ multiply-accumulates of one image, counted by torch."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros(1, 3, height, width))
    return float(counter.get_total_flops()) / 2e9
