"""The imported model as export knows a network: the untouched file answers, and its graph is rewritten once."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import ModelProto

from edgetl.export.adopt.comparison import check_same
from edgetl.export.adopt.graph import write_graph
from edgetl.export.adopt.kinds import Reading, Wiring
from edgetl.export.adopt.original import Original
from edgetl.export.networks.network import Answering
from edgetl.tasks import Task
from edgetl.tasks.inputs import Inputs
from edgetl.types import Array, Feeds, Outputs, TensorSpec, Track


class AdoptedNetwork:
    """`original` answers, its inputs and outputs translated by `wiring` and `reading`. `model`: its graph in memory,
    `some`: inputs that the rewritten graph must answer as it does.
    """

    def __init__(
        self, original: Original, model: ModelProto, task: Task, wiring: Wiring, reading: Reading, some: Inputs
    ) -> None:
        self.task = task
        self._original, self._model, self._some = original, model, some
        self._wiring, self._reading = wiring, reading

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the rewritten graph answers."""
        return self._reading.outputs

    def answer(self, feeds: Feeds) -> Outputs:
        """Sample by sample, each as long as it is: no answer depends on what else is in the batch."""
        rows = [self.task.take(feeds, np.array([i])) for i in range(_rows(feeds))]
        return self._joined([self._wiring.feed(row) for row in rows])

    def under(self) -> Mapping[str, Answering]:
        """The faults that can be planted in front of this model."""
        return {
            name: lambda feeds, wrong=wrong: self._joined(  # type: ignore[misc]
                [wrong({key: value[i : i + 1] for key, value in feeds.items()}) for i in range(_rows(feeds))]
            )
            for name, wrong in self._wiring.under(self.task).items()
        }

    def write(self, path: Path, opset: int) -> None:
        """The rewritten graph, held against the file. It keeps the opset of the file, whatever `opset` says.

        Raises ArtefactError where it cannot be rewritten, or does not answer the same.
        """
        write_graph(self._model, self._wiring, self._reading, self.task, self._original.batch, path)
        check_same(path, self._some, self.answer(self._some.feeds), ordered=getattr(self.task, "ordered", True))

    trainable = False
    """There is a graph, and no network to train."""

    def retrain(self, calibration: Inputs, seed: int, track: Track) -> "AdoptedNetwork":
        raise NotImplementedError("not trainable")

    def _joined(self, rows: list[dict[str, Array]]) -> Outputs:
        answers = [self._reading.read(self._original.run(row)) for row in rows]
        return {name: np.concatenate([each[name] for each in answers]) for name in answers[0]}


def _rows(feeds: Feeds) -> int:
    return len(next(iter(feeds.values())))
