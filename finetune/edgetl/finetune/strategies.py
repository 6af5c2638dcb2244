"""The transfer strategies as data: what the head starts from, what learns when, and what differs from the defaults."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from edgetl.errors import ConfigError, suggest
from edgetl.finetune.backbones.stages import Stage, boundary_of
from edgetl.finetune.training.config import LoopConfig, Value

AUTO = "auto"


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """`head`: fitted to frozen features by logistic regression, random, or kept as the weights have it.

    `trains` is false where fitting the head is all. `loop` holds what differs from `LoopConfig`.
    """

    name: str
    summary: str
    head: Literal["fitted", "random", "kept"]
    weights: bool = True
    trains: bool = True
    loop: Mapping[str, Value] = {}


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Strategy(
            name="feature-extraction",
            summary="a linear head on the frozen backbone, its features computed once",
            head="fitted",
            trains=False,
        ),
        Strategy(
            name="fine-tune",
            # a random head would spoil the features: Kumar et al., "Fine-Tuning can Distort Pretrained Features and
            # Underperform Out-of-Distribution", ICLR 2022 (LP-FT)
            summary="the head first, then every parameter",
            head="fitted",
        ),
        Strategy(
            name="partial",
            # Yosinski et al., "How transferable are features in deep neural networks?", NeurIPS 2014
            summary="the first stages stay frozen, their activations are computed once",
            head="fitted",
            loop={"freeze": "0.75", "views": 4},
        ),
        Strategy(
            name="progressive",
            # gradual unfreezing: Howard & Ruder, "Universal Language Model Fine-tuning", ACL 2018
            summary="unfrozen from the head backwards, step by step",
            head="fitted",
            loop={"freeze": "1.0", "thaw": 4, "views": 4},
        ),
        Strategy(
            name="layer-wise",
            # Clark et al., "ELECTRA", ICLR 2020, and Bao et al., "BEiT", ICLR 2022: layer-wise learning-rate decay
            summary="every parameter, with a learning rate that decays towards the stem",
            head="fitted",
            loop={"rate_decay": 0.85},
        ),
        Strategy(name="full", summary="every parameter at once, from a random head", head="random"),
        Strategy(
            name="from-scratch",
            summary="the architecture only, from random weights",
            head="random",
            weights=False,
            loop={"learning_rate": 3e-3, "epochs": 30, "batch_norm": "train", "label_smoothing": 0.0},
        ),
        Strategy(name="none", summary="the weights and their own head as they are", head="kept", trains=False),
    )
}


def get_strategy(name: str) -> Strategy:
    """The strategy called `name`. Raises ConfigError with the closest name."""
    if name not in STRATEGIES:
        raise ConfigError(f"unknown strategy `{name}`", hint=suggest(name, (AUTO, *STRATEGIES)))
    return STRATEGIES[name]


HEAD_OPTIONS = frozenset(("imbalance", "metric", "precision"))
"""What the fitted head listens to; the other options are of the training loop."""


def without_effect(strategy: Strategy, given: Mapping[str, Value]) -> list[str]:
    """Those of the `given` options that change nothing, because the strategy trains no loop."""
    return [] if strategy.trains else sorted(set(given) - HEAD_OPTIONS)


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """Epochs `first` to `last`, counted from 1, in which the stages below `boundary` are frozen."""

    boundary: int
    first: int
    last: int


def phases(config: LoopConfig, found: Sequence[Stage]) -> tuple[Phase, ...]:
    """Which stages are frozen in which epochs; the thawing steps share the epochs equally."""
    frozen = boundary_of(found, config.freeze)
    steps = min(config.thaw + 1, config.epochs)
    ends = [round(config.epochs * (i + 1) / steps) for i in range(steps)]
    boundaries = [round(frozen * (1 - i / max(1, steps - 1))) if steps > 1 else frozen for i in range(steps)]
    starts = [1, *(end + 1 for end in ends[:-1])]
    return tuple(
        Phase(boundary=boundary, first=first, last=last)
        for boundary, first, last in zip(boundaries, starts, ends, strict=True)
    )
