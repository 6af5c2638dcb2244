"""What `finetune` is asked to do, and what it answers."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from edgetl.errors import ConfigError
from edgetl.finetune.cache.room import DEFAULT_GB
from edgetl.finetune.evaluation.scratch import Comparison
from edgetl.finetune.strategies import AUTO
from edgetl.finetune.training.config import Value

TaskName = Literal["image", "text", "detection"]

DEFAULT_BACKBONE = "mobilenet_v2"
"""Of images; for texts there is none."""


class FinetuneConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `finetune` is asked to do; `config.toml` of a run.

    `data`: a folder, a manifest (.csv, .parquet; for texts .jsonl too) or `hf:NAME`. `weights`: a path, `default`
    (torchvision's; a text backbone's own) or `none`. `labels`: a file with one label a line, for `strategy = "none"`.
    `size` replaces the weights' own input size in pixels, `max_length` the length in tokens that is chosen from the
    texts. `detector`, `format` and `skip_bad_boxes` are the detection stage's. `loop`: what the user changes of the
    strategy's training, by the names of `LoopConfig` (of `DetectionLoop` for detection).
    """

    data: str
    task: TaskName = "image"
    backbone: str = DEFAULT_BACKBONE
    weights: str = "default"
    strategy: str = AUTO
    labels: str | None = None
    size: int | None = None
    max_length: int | None = None
    detector: str = "ssdlite"
    format: str = "auto"
    skip_bad_boxes: bool = False
    seed: int = 0
    skip_bad_images: bool = False
    cache_gb: float = DEFAULT_GB
    compare_scratch: bool = False
    tensorboard: bool = False
    loop: dict[str, Value] = {}


ONLY_FOR: Mapping[str, tuple[TaskName, ...]] = {
    "labels": ("image", "text"),
    "size": ("image", "detection"),
    "max_length": ("text",),
    "detector": ("detection",),
    "format": ("detection",),
    "skip_bad_images": ("image", "detection"),
    "skip_bad_boxes": ("detection",),
    "compare_scratch": ("image",),
}
"""Options that not every task has."""


def check_options(config: FinetuneConfig, task: TaskName) -> None:
    """Raises ConfigError for a `config` of another task than `task`, and for an option that means nothing for it."""
    if config.task != task:
        raise ConfigError(f"the task is `{config.task}`, not `{task}`", hint=f"`--task {task}`")
    for field in msgspec.structs.fields(FinetuneConfig):
        if not meant_for(field.name, task) and getattr(config, field.name) != field.default:
            option = f"`--{field.name.replace('_', '-')}`"
            raise ConfigError(
                f"{option} means nothing for {task}", hint=f"it goes with `--task {ONLY_FOR[field.name][0]}`"
            )


def meant_for(option: str, task: TaskName) -> bool:
    """Whether an option of `FinetuneConfig` means something for a task."""
    return task in ONLY_FOR.get(option, (task,))


class FinetuneResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `finetune --json` prints. Metrics are fractions of 1, measured on `headline`.

    `selection`: the same metric on what was set aside for choices: of the chosen epoch, or cross-validated where the
    head is all that is fitted; None where nothing was set aside.
    """

    run: str
    strategy: str
    epochs: int
    seconds: float
    metrics: dict[str, float]
    metric: str
    selection: float | None = None
    headline: str
    samples: int
    reason: str = ""
    leakage: tuple[str, ...] = ()
    comparison: Comparison | None = None
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
