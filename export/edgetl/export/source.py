"""What export takes from a run: the model rebuilt, and the run's images, which must not have changed."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from torch import nn

from edgetl.errors import ArtefactError, ConfigError, DataError
from edgetl.files import sha256_of
from edgetl.finetune.backbones.registry import get_backbone
from edgetl.finetune.backbones.weights import build_model, read_weights
from edgetl.run import Run, SampleRecord, open_run
from edgetl.tasks import Task
from edgetl.tasks.loading import prepare_files
from edgetl.types import Pixels, Track

AGAIN = "run `edgetl finetune` again"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """An opened run. `root` is where its images are now."""

    run: Run
    task: Task
    samples: Sequence[SampleRecord]
    model: nn.Module
    root: Path

    def split(self, name: str) -> list[SampleRecord]:
        return [sample for sample in self.samples if sample.split == name]


def open_source(path: Path, data: Path | None) -> Source:
    """Reads the run and rebuilds its model. `data` is the data folder if it moved since. Raises ArtefactError."""
    run, task, samples = open_run(path)
    try:
        backbone = get_backbone(run.backbone)
    except ConfigError as error:
        raise ArtefactError(f"`{path}` has the backbone `{run.backbone}`", hint=error.hint) from error
    weights = read_weights(backbone, str(path))
    model, notes = build_model(backbone, weights.state, len(task.labels), seed=0)
    if notes:
        raise ArtefactError(f"the weights of `{path}` do not have {len(task.labels)} outputs", hint=AGAIN)
    return Source(run=run, task=task, samples=samples, model=model.eval(), root=data or Path(run.data.root))


def check_unchanged(root: Path, samples: Sequence[SampleRecord]) -> None:
    """Every file must be there with the content finetune saw. Raises DataError."""
    for sample in samples:
        path = root / sample.path
        if not path.is_file():
            raise DataError(
                f"`{path}` is not there (it was, in the run)", hint="`--data` is for a data folder that moved"
            )
        if sha256_of(path) != sample.sha256:
            raise DataError(f"`{path}` changed since the run", hint=AGAIN)


def pixels_of(samples: Sequence[SampleRecord], root: Path, task: Task, track: Track, what: str) -> Pixels:
    """The prepared pixels (samples, height, width, 3) of files that are known to decode."""
    decoded = prepare_files((root / sample.path for sample in samples), task.input)
    images = []
    for image in track(decoded, what, len(samples)):
        if isinstance(image, DataError):
            raise image
        images.append(image)
    return np.stack(images)
