"""What a training is told: the network, its images, its phases, and how it is judged."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgetl.finetune.backbones.stages import Stage
from edgetl.finetune.strategies import Phase
from edgetl.finetune.training.checkpoint import (
    Epoch,
)
from edgetl.finetune.training.config import LoopConfig
from edgetl.finetune.training.feeds import Feed
from edgetl.finetune.training.team import Team
from edgetl.types import Array


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What learns in a phase: the module from the frozen boundary on, its inputs to learn from and to be judged by."""

    module: nn.Module
    feed: Feed
    judged: Feed


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one training needs. `truths` are the labels of the training positions, `held` those set aside.

    `enter` prepares the part that learns in a phase; `score` turns logits and truths into (metric, loss);
    `path` names the file of a position; `class_weights` has one weight a label. `arrange` may reorder an epoch's
    positions, such as to bring equal lengths into one batch; `samples` is what they are called.
    """

    model: nn.Module
    stages: Sequence[Stage]
    phases: Sequence[Phase]
    config: LoopConfig
    truths: NDArray[np.int64]
    held: NDArray[np.int64]
    enter: Callable[[Phase], Part]
    score: Callable[[Array, NDArray[np.int64]], tuple[float, float]]
    path: Callable[[int], str]
    seed: int
    bf16: bool
    team: Team
    class_weights: NDArray[np.float32] | None = None
    sampling: bool = False
    arrange: Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.int64]] = lambda order, rng: order
    samples: str = "images"
    observe: Callable[[Epoch], None] = lambda epoch: None
