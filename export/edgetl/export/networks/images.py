"""Image classifiers of a run: torch in fp32, with the normalisation and the softmax inside."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from edgetl.devices.hypotheses import graph_hypotheses
from edgetl.errors import ArtefactError, ConfigError
from edgetl.export.graph import finish
from edgetl.export.networks.network import Answering, GraphWishes, refuse_suppression
from edgetl.finetune.backbones.registry import get_backbone
from edgetl.finetune.backbones.weights import build_model, read_weights
from edgetl.finetune.graph import deploy, export_onnx
from edgetl.run import Run
from edgetl.tasks import ImageClassification
from edgetl.tasks.inputs import Inputs
from edgetl.types import Feeds, Outputs, TensorSpec, Track

AGAIN = "run `edgetl finetune` again"


class ImageNetwork:
    """`model` answers with logits; with `embedding` the features before its head are a third output."""

    def __init__(self, model: nn.Module, task: ImageClassification, *, embedding: bool = False) -> None:
        self.model, self.task = model, task
        self._deployed = deploy(model, task, embedding=embedding)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """`logits`, `probabilities` and perhaps `embedding`, float32 (batch, width)."""
        width = getattr(self._deployed.head, "in_features", 0)
        widths = {name: width if name == "embedding" else len(self.task.labels) for name in self._deployed.outputs}
        return tuple(TensorSpec(name=name, dtype="float32", shape=("batch", wide)) for name, wide in widths.items())

    def answer(self, feeds: Feeds) -> Outputs:
        return answered(self._deployed, feeds)

    def under(self) -> Mapping[str, Answering]:
        """Other normalisations, and red and blue exchanged."""
        wrong = {name: deploy(self.model, self.task, pixels) for name, pixels in graph_hypotheses(self.task).items()}
        return {name: lambda feeds, each=each: answered(each, feeds) for name, each in wrong.items()}  # type: ignore[misc]

    def write(self, path: Path, opset: int) -> None:
        export_onnx(self._deployed, self.task.inputs, path, opset=opset)
        finish(path, self.task.inputs)

    trainable = True

    def retrain(self, calibration: Inputs, seed: int, track: Track) -> "ImageNetwork":
        from edgetl.export.quantisation.training import train_quantised  # only the last resort needs it

        trained = ImageNetwork(self.model, self.task)
        trained._deployed = train_quantised(self._deployed, calibration, seed, track=track)
        return trained


def answered(deployed: nn.Module, feeds: Feeds) -> Outputs:
    """What a deployed module answers, by the names of its `outputs`."""
    with torch.inference_mode():
        # torch warns of memory it may not write to, as of a mapped file
        inputs = [torch.from_numpy(array if array.flags.writeable else array.copy()) for array in feeds.values()]
        answers = deployed(*inputs)
    names: tuple[str, ...] = deployed.outputs  # type: ignore[assignment]
    return {name: each.numpy() for name, each in zip(names, answers, strict=True)}


def open_network(
    path: Path, run: Run, task: ImageClassification, wishes: GraphWishes
) -> tuple[ImageNetwork, ImageClassification]:
    """Rebuilds the model of the run `path`. Raises ArtefactError, ConfigError."""
    refuse_suppression(wishes)
    try:
        backbone = get_backbone(run.backbone)
    except ConfigError as error:
        raise ArtefactError(f"`{path}` has the backbone `{run.backbone}`", hint=error.hint) from error
    weights = read_weights(backbone, str(path))
    model, notes = build_model(backbone, weights.state, len(task.labels), seed=0)
    if notes:
        raise ArtefactError(f"the weights of `{path}` do not have {len(task.labels)} outputs", hint=AGAIN)
    return ImageNetwork(model.eval(), task, embedding=wishes.embedding), task
