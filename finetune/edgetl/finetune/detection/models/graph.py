"""A detector rebuilt from its run, and the graph it ships as: uint8 pixels in, boxes and scores out."""

from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from edgetl.errors import ArtefactError, ConfigError, first_line
from edgetl.files import read_json, sha256_of, write_json
from edgetl.finetune.backbones.registry import get_backbone
from edgetl.finetune.detection.models.architectures import build_detector
from edgetl.finetune.detection.models.detector import Detector
from edgetl.finetune.detection.models.options import DetectorOptions
from edgetl.finetune.graph import DeployedModel
from edgetl.run import Run
from edgetl.tasks import ObjectDetection
from edgetl.tasks.normalisation import Normalisation, normalisation

RECORD = "detector.json"
"""What a run says of its detector; listed in the run's `files`."""

AGAIN = "run `edgetl finetune` again"


class DeployedDetector(DeployedModel):
    """A detector as it ships: (batch, height, width, 3) uint8 RGB → `boxes`, float32 (batch, rows, 4) in pixels of the
    input, and `scores`, float32 (batch, rows, labels). `rows` is their number.
    """

    model: Detector

    def __init__(self, detector: Detector, pixels: Normalisation, size: tuple[int, int]) -> None:
        super().__init__(detector, pixels)
        self.eval()
        with torch.inference_mode():
            self.rows = self.model.decode(torch.zeros(1, 3, *size))[0].shape[1]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what `forward` returns, in its order."""
        return ("boxes", "scores")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.model.decode(self.normalise(image))


def deploy(detector: nn.Module, task: ObjectDetection, pixels: Normalisation | None = None) -> DeployedDetector:
    """`detector` with the task's normalisation, or another, to answer under a hypothesis.

    It is not changed but for being put into evaluation mode, and shares its tensors with what is returned.
    """
    assert isinstance(detector, Detector)
    size = (task.input.height, task.input.width)
    return DeployedDetector(detector, pixels or normalisation(task.mean, task.std), size)


class DetectorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`detector.json`: what rebuilds the network without its weights. `backbone`: None where the model has its own."""

    architecture: str
    backbone: str | None
    options: DetectorOptions


def write_record(folder: Path, architecture: str, backbone: str | None, detector: Detector) -> None:
    """Writes `detector.json` into the run `folder`."""
    write_json(folder / RECORD, DetectorRecord(architecture=architecture, backbone=backbone, options=detector.options))


def open_detector(path: Path, run: Run, task: ObjectDetection) -> Detector:
    """The detector of the run `path`, in evaluation mode. Raises ArtefactError for one that cannot be rebuilt."""
    if sha256_of(_there(path / RECORD)) != run.files.get(RECORD):
        raise ArtefactError(f"`{path / RECORD}` is not what run.json says", hint=AGAIN)
    record = read_json(path / RECORD, DetectorRecord)
    try:
        backbone = get_backbone(record.backbone) if record.backbone else None
        detector = build_detector(
            record.architecture, backbone, None, len(task.labels), (task.input.height, task.input.width),
            options=record.options,
        )  # fmt: skip
    except ConfigError as error:
        raise ArtefactError(f"the detector of `{path}` cannot be rebuilt: {error}", hint=error.hint) from error
    _load(detector, path / "weights.safetensors")
    return detector.eval()


def _there(path: Path) -> Path:
    if not path.is_file():
        raise ArtefactError(f"`{path}` is missing", hint=AGAIN)
    return path


def _load(detector: Detector, path: Path) -> None:
    try:
        detector.load_state_dict(load_file(_there(path)))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ArtefactError(f"the weights `{path}` do not fit the detector: {first_line(error)}", hint=AGAIN) from error
