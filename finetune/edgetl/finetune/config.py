"""What `finetune` is asked to do, and what it answers."""

import msgspec

from edgetl.finetune.cache.room import DEFAULT_GB
from edgetl.finetune.evaluation.scratch import Comparison
from edgetl.finetune.strategies import AUTO
from edgetl.finetune.training.config import Value


class FinetuneConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `finetune` is asked to do; `config.toml` of a run.

    `data`: a folder, a manifest (.csv, .parquet) or `hf:NAME`. `weights`: a path, `default` (torchvision's) or `none`.
    `labels`: a file with one label a line, for `strategy = "none"`. `size` replaces the weights' own input size in
    pixels. `loop`: what the user changes of the strategy's training, by the names of `LoopConfig`.
    """

    data: str
    backbone: str = "mobilenet_v2"
    weights: str = "default"
    strategy: str = AUTO
    labels: str | None = None
    size: int | None = None
    seed: int = 0
    skip_bad_images: bool = False
    cache_gb: float = DEFAULT_GB
    compare_scratch: bool = False
    tensorboard: bool = False
    loop: dict[str, Value] = {}


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
