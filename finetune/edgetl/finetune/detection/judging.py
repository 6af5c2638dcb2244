"""A detector's answers for photos, through the task's own postprocessing."""

from collections.abc import Iterator

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgetl.finetune.cache.pictures import Pictures
from edgetl.finetune.detection.models.detector import Detector
from edgetl.tasks.detections import LEAST_SCORE, Found, in_photo
from edgetl.tasks.normalisation import normalisation
from edgetl.tasks.object_detection import ObjectDetection
from edgetl.types import Pixels, Track

BATCH = 8


class Entrance:
    """uint8 pixels (batch, height, width, 3) as the detector's input (batch, 3, height, width), on its device."""

    def __init__(self, task: ObjectDetection, device: torch.device) -> None:
        pixels = normalisation(task.mean, task.std)
        self.device = device
        self.scale = torch.tensor(pixels.scale, device=device).view(1, 3, 1, 1)
        self.shift = torch.tensor(pixels.shift, device=device).view(1, 3, 1, 1)

    def __call__(self, pixels: Pixels) -> Tensor:
        images = torch.from_numpy(pixels).to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        return (images * self.scale + self.shift).contiguous(memory_format=torch.channels_last)


def answers(
    detector: Detector,
    task: ObjectDetection,
    pictures: Pictures,
    sizes: list[tuple[int, int]],
    device: torch.device,
    track: Track,
    *,
    bf16: bool = False,
    least: float = LEAST_SCORE,
) -> list[Found]:
    """What `detector` finds in each picture with a score of at least `least`, in pixels of the photo of `sizes`.

    Puts it into evaluation mode.
    """
    detector.eval()
    enter = Entrance(task, device)
    found: list[Found] = []
    positions = np.arange(len(pictures.samples))
    for batch in track(_batches(positions), "evaluate", -(-len(positions) // BATCH)):
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            boxes, scores = detector.decode(enter(pictures.read(batch)))
        outputs = {"boxes": boxes.float().cpu().numpy(), "scores": scores.float().cpu().numpy()}
        for number, each in zip(batch, task.found(outputs, threshold=least), strict=True):
            found.append(msgspec.structs.replace(each, boxes=in_photo(each.boxes, sizes[number], task.input)))
    return found


def _batches(positions: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(positions), BATCH):
        yield positions[start : start + BATCH]
