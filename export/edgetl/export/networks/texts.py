"""Text classifiers of a run: torch in fp32, from token ids and mask to labels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from edgetl.errors import ConfigError
from edgetl.export.graph import finish
from edgetl.export.networks.images import answered
from edgetl.export.networks.network import Answering, GraphWishes, refuse_suppression
from edgetl.finetune.graph import export_onnx
from edgetl.finetune.text.graph import deploy
from edgetl.finetune.text.rebuild import open_text_model
from edgetl.run import Run
from edgetl.tasks import TextClassification
from edgetl.tasks.inputs import Inputs
from edgetl.types import Feeds, Outputs, TensorSpec, Track


class TextNetwork:
    """`model` takes ids and mask and answers with logits."""

    def __init__(self, model: nn.Module, task: TextClassification) -> None:
        self.task = task
        self._deployed = deploy(model, task)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """`logits` and `probabilities`, float32 (batch, labels)."""
        shape = ("batch", len(self.task.labels))
        return tuple(TensorSpec(name=name, dtype="float32", shape=shape) for name in ("logits", "probabilities"))

    def answer(self, feeds: Feeds) -> Outputs:
        return answered(self._deployed, feeds)

    def under(self) -> Mapping[str, Answering]:
        """The padding read as words."""
        return {"mask ignored": lambda feeds: self.answer({**feeds, "mask": np.ones_like(feeds["mask"])})}

    def write(self, path: Path, opset: int) -> None:
        export_onnx(self._deployed, self.task.inputs, path, opset=opset)
        finish(path, self.task.inputs)

    trainable = False
    """No training under quantisation: weights in int8 alone, or layers left in floating point, hold texts."""

    def retrain(self, calibration: Inputs, seed: int, track: Track) -> "TextNetwork":
        raise NotImplementedError("not trainable")


def open_network(
    path: Path, run: Run, task: TextClassification, wishes: GraphWishes
) -> tuple[TextNetwork, TextClassification]:
    """Rebuilds the model of the run `path`. Raises ArtefactError, ConfigError."""
    refuse_suppression(wishes)
    if wishes.embedding:
        raise ConfigError("`--embedding` is an output of image classifiers", hint="leave it out")
    return TextNetwork(open_text_model(path, run, task).eval(), task), task
