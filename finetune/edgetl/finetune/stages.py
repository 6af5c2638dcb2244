"""Which stage fine-tunes for which task: a table from the task's name to its module, loaded when it is asked for."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from edgetl.finetune.config import FinetuneConfig, FinetuneResult, TaskName
from edgetl.finetune.training.checkpoint import Epoch
from edgetl.types import Track

STAGES: dict[TaskName, str] = {
    "image": "edgetl.finetune.stage",
    "text": "edgetl.finetune.text.stage",
    "detection": "edgetl.finetune.detection.stage",
}
"""Each module has a function `finetune`, a `Stage`."""


class Stage(Protocol):
    """(config) → the run `out`, whole or not at all; `observe` is told every finished epoch."""

    def __call__(
        self,
        config: FinetuneConfig,
        out: Path,
        *,
        overwrite: bool = False,
        resume: bool = False,
        track: Track = ...,
        observe: Callable[[Epoch], None] = ...,
    ) -> FinetuneResult: ...


def stage_of(task: TaskName) -> Stage:
    """The stage of a task. Raises DependencyError when a library that only this task needs is missing."""
    return cast(Stage, importlib.import_module(STAGES[task]).finetune)
