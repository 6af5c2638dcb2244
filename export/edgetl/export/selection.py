"""Training images that neither calibrate nor judge: by them one way of quantising is chosen over another."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from edgetl.devices.answers import Answers
from edgetl.devices.judging import judging_of
from edgetl.devices.measures import own_measure
from edgetl.devices.numerics import Distance
from edgetl.export.golden import answers_to, stratified
from edgetl.export.networks.network import Answering
from edgetl.manifest import TaskResult
from edgetl.run import SampleRecord
from edgetl.tasks import Task
from edgetl.tasks.inputs import Inputs
from edgetl.types import Array, Outputs

MAX_CALIBRATION = 512
MAX_SELECTION = 128


class TrainingImages(msgspec.Struct, frozen=True, kw_only=True):
    """Two disjoint parts of `train`, each taking turns through the classes."""

    calibration: tuple[SampleRecord, ...]
    selection: tuple[SampleRecord, ...]


def training_images(samples: Sequence[SampleRecord], seed: int, asked: int | None) -> TrainingImages:
    """Up to `asked` (default 512) images to calibrate with, and up to 128 others, a quarter of a small set."""
    ordered = stratified(samples, len(samples), seed)
    spare = min(MAX_SELECTION, len(ordered) // 4)
    count = min(asked or MAX_CALIBRATION, len(ordered) if asked else len(ordered) - spare)
    return TrainingImages(calibration=tuple(ordered[:count]), selection=tuple(ordered[count : count + MAX_SELECTION]))


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """`inputs` of some samples, what is true of them, and the reference's `outputs`, each a row a sample."""

    task: Task
    inputs: Inputs
    truths: Array
    outputs: Outputs

    def first(self, count: int) -> "Selection":
        """The first `count` samples only."""
        outputs = {name: array[:count] for name, array in self.outputs.items()}
        return msgspec.structs.replace(
            self, inputs=self.inputs.first(count), truths=self.truths[:count], outputs=outputs
        )  # fmt: skip

    def measure(self, answering: Answering) -> "Measured":
        """What a model that answers so does to these samples."""
        outputs = answers_to(answering, self.inputs, self.task)
        answers = Answers(
            samples=np.arange(len(self.inputs), dtype=np.uint64),
            truths=self.truths,
            reference=self.task.findings(self.outputs),
            variant=self.task.findings(outputs),
        )
        measure = own_measure(self.task)
        return Measured(
            distance=judging_of(self.task).distance(outputs, self.outputs, self.task),
            result=measure.result(answers),
            conceivable=measure.conceivable,
        )


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The distance of the answers from the reference's, and the metric of both."""

    distance: Distance
    result: TaskResult
    conceivable: Callable[[TaskResult, float], bool]

    def plausible(self, max_drop: float, least_db: float) -> bool:
        """Whether a drop of at most `max_drop` points is no strange thing to suspect, and the SQNR is enough."""
        return self.conceivable(self.result, max_drop) and self.distance.sqnr_db >= least_db
