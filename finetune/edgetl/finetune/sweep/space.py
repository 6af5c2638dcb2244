"""What a sweep may vary, as data: each option with its range, and which strategy has which."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from edgetl.errors import ConfigError, suggest
from edgetl.finetune.strategies import get_strategy
from edgetl.finetune.training.config import LoopConfig, Value

STRATEGY = "strategy"


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """An option of `LoopConfig`: either `low` to `high`, on a `log` scale or not, or one of the `choices`."""

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Value, ...] = ()

    def distribution(self) -> BaseDistribution:
        if self.choices:
            return CategoricalDistribution(self.choices)
        return FloatDistribution(self.low, self.high, log=self.log)


COMMON = (
    Option(name="learning_rate", low=1e-5, high=1e-2, log=True),
    Option(name="batch_size", choices=(8, 16, 32, 64, 128)),
    Option(name="weight_decay", low=1e-4, high=0.3, log=True),
    Option(name="label_smoothing", high=0.2),
    Option(name="dropout", high=0.5),
    Option(name="mixup", high=0.4),
)
"""For every strategy that trains. The learning rate is AdamW's; usual values lie well within each range."""

# an option has the same range wherever it stands: the sampler learns from all strategies that share it
FREEZE = Option(name="freeze", choices=("0.25", "0.5", "0.75", "1.0"))
RATE_DECAY = Option(name="rate_decay", low=0.6, high=1.0)

SPACE: Mapping[str, tuple[Option, ...]] = {
    # its one setting, the C of the logistic regression, is cross-validated inside each fit
    "feature-extraction": (),
    "fine-tune": COMMON,
    "partial": (*COMMON, FREEZE),
    "progressive": (*COMMON, FREEZE),
    "layer-wise": (*COMMON, RATE_DECAY),
    "full": COMMON,
    "from-scratch": COMMON,
}

PRETRAINED = ("feature-extraction", "fine-tune", "partial", "layer-wise")
"""The strategies of a sweep that starts from weights and names none."""


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """The strategies to choose from, and the options to search for each; `fixed` by the user are the others."""

    options: Mapping[str, tuple[Option, ...]]
    fixed: Mapping[str, Value]

    def names(self) -> list[str]:
        """Everything that is searched."""
        searched = {option.name: None for options in self.options.values() for option in options}
        return [*([STRATEGY] if len(self.options) > 1 else []), *searched]

    def first(self, number: int) -> dict[str, Any]:
        """Trial `number` of the first few: the defaults of each strategy in turn, so that the best is no worse."""
        if number >= len(self.options):
            return {}
        strategy = list(self.options)[number]
        loop = msgspec.structs.replace(LoopConfig(), **get_strategy(strategy).loop)
        return {STRATEGY: strategy, **{each.name: _default(each, loop) for each in self.options[strategy]}}


def space_of(strategies: Sequence[str], fixed: Mapping[str, Value], images: int) -> Space:
    """What is left to search when the options `fixed` are, for `images` to train on.

    Raises ConfigError when a strategy has nothing to sweep, or everything is fixed.
    """
    for name in strategies:
        if name not in SPACE:
            get_strategy(name)
            raise ConfigError(f"a sweep cannot try `{name}`", hint=suggest(name, SPACE))
    options = {name: tuple(_searched(SPACE[name], fixed, images)) for name in dict.fromkeys(strategies)}
    space = Space(options=options, fixed=fixed)
    if not space.names():
        hint = "leave out the options to search; a run's config.toml has all of them"
        raise ConfigError("nothing is left to search: every option is fixed", hint=hint)
    return space


def _searched(options: Sequence[Option], fixed: Collection[str], images: int) -> list[Option]:
    """Batches larger than the data are all alike."""
    found = [option for option in options if option.name not in fixed]
    return [_fitting(option, images) if option.name == "batch_size" else option for option in found]


def _fitting(option: Option, images: int) -> Option:
    choices = tuple(size for size in option.choices if int(size) <= images) or option.choices[:1]
    return msgspec.structs.replace(option, choices=choices)


def _default(option: Option, loop: LoopConfig) -> Value:
    value = getattr(loop, option.name)
    if option.choices:
        return value if value in option.choices else option.choices[-1]
    return min(max(value or 0.0, option.low), option.high)


def drawn(trial: Trial, space: Space) -> tuple[str, dict[str, Value]]:
    """The strategy of a trial and its options, without those that are fixed."""
    names = list(space.options)
    strategy = str(trial.suggest_categorical(STRATEGY, names)) if len(names) > 1 else names[0]
    return strategy, {option.name: _suggested(trial, option) for option in space.options[strategy]}


def _suggested(trial: Trial, option: Option) -> Value:
    if option.choices:
        chosen = trial.suggest_categorical(option.name, option.choices)
        assert chosen is not None
        return chosen
    return trial.suggest_float(option.name, option.low, option.high, log=option.log)
