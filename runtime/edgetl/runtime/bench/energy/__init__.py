"""Energy by the machine's own meters: which ones there are for what runs."""

from pathlib import Path

from edgetl.runtime.bench.energy.board import board_meter
from edgetl.runtime.bench.energy.meter import Meter, Reading, metered
from edgetl.runtime.bench.energy.nvidia import gpu_meter
from edgetl.runtime.bench.energy.rapl import package_meters
from edgetl.types import EngineFacts

__all__ = ["Meter", "Reading", "find_meters", "metered"]


def find_meters(facts: EngineFacts, root: Path = Path("/")) -> tuple[list[Meter], list[str]]:
    """The meters for what runs, none of which feeds into another; and why there are none, or one is missing."""
    board = board_meter(root)
    if board is not None:
        return [board], []
    meters, problem = package_meters(root)
    notes = [f"no energy of the processor: {problem}"] if problem else []
    if any(word in facts.provider for word in ("CUDA", "Tensorrt", "TensorRT")):
        gpu, problem = gpu_meter()
        meters = [*meters, *([gpu] if gpu else [])]
        notes += [f"no energy of the GPU: {problem}"] if problem else []
    return meters, notes
