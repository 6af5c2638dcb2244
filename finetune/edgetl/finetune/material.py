"""What a strategy works with, and what it leaves."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgetl.errors import DataError
from edgetl.finetune.cache.room import Cache
from edgetl.finetune.data.dataset import Dataset
from edgetl.finetune.data.table import Samples
from edgetl.finetune.head.logistic import Candidate
from edgetl.finetune.training.checkpoint import Epoch
from edgetl.finetune.training.config import LoopConfig, Value
from edgetl.finetune.training.team import Team
from edgetl.run import Split
from edgetl.tasks import ImageClassification, TextClassification
from edgetl.types import Array, Track

Classifier = ImageClassification | TextClassification
"""The tasks whose answers are labels."""


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """What every strategy starts from. `checkpoint`: the folder of this training's state.

    `observe` is told every finished epoch; what it raises ends the training.
    """

    model: nn.Module
    dataset: Dataset
    task: ImageClassification
    loop: LoopConfig
    seed: int
    skip_bad_images: bool
    cache: Cache
    checkpoint: Path
    resume: bool
    identity: dict[str, Value]
    team: Team
    track: Track
    observe: Callable[[Epoch], None] = lambda epoch: None


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A model's logits (samples, labels) on a split and the true label indices (samples,)."""

    samples: Samples
    logits: Array
    truths: NDArray[np.int64]


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy's result: the model, its answers on the headline split, the way there, what was decoded or left out.

    `temperature` was fitted where samples were there to fit it. `selected_on`: the samples that chose the epoch.
    `selection`: the metric by which settings may be chosen, never measured on the headline split.
    """

    model: nn.Module
    judged: Judged
    temperature: float = 1.0
    epochs: Sequence[Epoch] = ()
    candidates: Sequence[Candidate] = ()
    compute: dict[str, Value] = {}
    decoded: tuple[Split, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    selected_on: int = 0
    selection: float | None = None
    metric: str = "top1"
    bf16: bool = False


def skip_or_raise(bad: dict[str, DataError], skip: bool) -> tuple[str, ...]:
    """The paths of images that cannot be decoded; without `skip` they are a DataError that lists them."""
    if bad and not skip:
        shown = "\n".join(error.message for error in list(bad.values())[:10])
        more = f"\nand {len(bad) - 10} more" if len(bad) > 10 else ""
        raise DataError(
            f"{len(bad)} image{'s' if len(bad) > 1 else ''} cannot be used:\n{shown}{more}",
            hint="`--skip-bad-images` leaves such files out and lists them",
        )
    return tuple(bad)


def check_classes_left(truths: Array, task: Classifier) -> None:
    """After bad images are left out, every class must still have two images to learn from."""
    counts = np.bincount(truths.astype(np.int64), minlength=len(task.labels))
    if counts.min() < 2:
        raise DataError(
            f"the class `{task.labels[int(counts.argmin())]}` has {counts.min()} usable train images",
            hint="each class needs at least two",
        )
