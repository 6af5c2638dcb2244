"""What is searched lies within what a training takes, and the first trials are the defaults."""

import pytest

from edgetl.errors import ConfigError
from edgetl.finetune.strategies import STRATEGIES
from edgetl.finetune.sweep.space import SPACE, space_of
from edgetl.finetune.training.config import BOUNDS, loop_config


@pytest.mark.parametrize("strategy", SPACE)
def test_every_end_of_a_range_is_a_training_that_can_be_configured(strategy: str) -> None:
    for option in SPACE[strategy]:
        for value in option.choices or (option.low, option.high):
            loop_config(STRATEGIES[strategy].loop, {option.name: value})
        low, high = BOUNDS.get(option.name, (0.0, 0.0))
        assert option.choices or low <= option.low < option.high <= high


def test_options_shared_by_strategies_have_one_range() -> None:
    ranges = {(option.name, option) for options in SPACE.values() for option in options}
    assert len({name for name, _ in ranges}) == len(ranges)


def test_the_first_trials_are_the_strategies_defaults() -> None:
    space = space_of(("partial", "layer-wise"), {"dropout": 0.3}, 1000)
    assert space.first(0)["strategy"] == "partial" and space.first(0)["freeze"] == "0.75"
    assert space.first(1)["rate_decay"] == 0.85 and space.first(1)["batch_size"] == 32
    assert "dropout" not in space.first(0) and space.first(2) == {}
    assert "dropout" not in space.names()


def test_batches_larger_than_the_data_are_not_tried() -> None:
    found = space_of(("full",), {}, 40).options["full"]
    assert next(option.choices for option in found if option.name == "batch_size") == (8, 16, 32)


@pytest.mark.parametrize(("strategy", "words"), [("none", "cannot try"), ("partal", "unknown strategy")])
def test_a_strategy_without_a_space(strategy: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        space_of((strategy,), {}, 40)
