"""Detectors of a run: torch in fp32, from pixels to boxes and scores."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import structs
from torch import nn

from edgetl.devices.hypotheses import graph_hypotheses
from edgetl.errors import ConfigError
from edgetl.export.graph import finish
from edgetl.export.networks.images import answered
from edgetl.export.networks.network import Answering, GraphWishes
from edgetl.export.suppression import suppress_in_graph
from edgetl.finetune.detection.models.graph import deploy, open_detector
from edgetl.finetune.graph import export_onnx
from edgetl.run import Run
from edgetl.tasks import ObjectDetection
from edgetl.tasks.detections import only_kept
from edgetl.tasks.inputs import Inputs
from edgetl.types import Feeds, Outputs, TensorSpec, Track


class BoxNetwork:
    """`detector` decodes boxes and scores. Suppression is left to the device unless `iou` says that the graph does it,
    of at most `task.max_objects` of a class.
    """

    def __init__(self, detector: nn.Module, task: ObjectDetection, iou: float | None = None) -> None:
        self.task, self._detector, self._iou = task, detector, iou
        self._deployed = deploy(detector, task)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """`boxes` float32 (batch, rows, 4) and `scores` float32 (batch, rows, labels)."""
        rows: int = self._deployed.rows
        return (
            TensorSpec(name="boxes", dtype="float32", shape=("batch", rows, 4)),
            TensorSpec(name="scores", dtype="float32", shape=("batch", rows, len(self.task.labels))),
        )

    def answer(self, feeds: Feeds) -> Outputs:
        return self._suppressed(answered(self._deployed, feeds))

    def _suppressed(self, outputs: Outputs) -> Outputs:
        if self._iou is None:
            return outputs
        scores = only_kept(outputs["boxes"], outputs["scores"], iou=self._iou, most=self.task.max_objects)
        return {**outputs, "scores": scores}

    def under(self) -> Mapping[str, Answering]:
        """Other normalisations, and red and blue exchanged."""
        wrong = {name: deploy(self._detector, self.task, each) for name, each in graph_hypotheses(self.task).items()}
        return {name: lambda feeds, each=each: self._suppressed(answered(each, feeds)) for name, each in wrong.items()}  # type: ignore[misc]

    def write(self, path: Path, opset: int) -> None:
        export_onnx(self._deployed, self.task.inputs, path, opset=opset)
        finish(path, self.task.inputs)
        if self._iou is not None:
            suppress_in_graph(path, iou=self._iou, most=self.task.max_objects)
            finish(path, self.task.inputs)

    trainable = False
    """No training under quantisation: a detector learns from boxes, which calibration does not have."""

    def retrain(self, calibration: Inputs, seed: int, track: Track) -> "BoxNetwork":
        raise NotImplementedError("not trainable")


def open_network(
    path: Path, run: Run, task: ObjectDetection, wishes: GraphWishes
) -> tuple[BoxNetwork, ObjectDetection]:
    """Rebuilds the model of the run `path`; with suppression in the graph none is left to the device.

    Raises ArtefactError, ConfigError.
    """
    if wishes.embedding:
        raise ConfigError("`--embedding` is an output of image classifiers", hint="leave it out")
    detector = open_detector(path, run, task).eval()
    if wishes.nms != "graph":
        return BoxNetwork(detector, task), task
    if task.iou_threshold is None:
        raise ConfigError(f"the detector of `{path}` says every object once", hint="leave `--nms` out")
    return BoxNetwork(detector, task, task.iou_threshold), structs.replace(task, iou_threshold=None)
