"""Strategies are data: what is frozen in which epoch, at which rate, follows from the configuration alone."""

import pytest
import torch

from edgetl.errors import ConfigError
from edgetl.finetune.backbones.registry import get_backbone
from edgetl.finetune.backbones.stages import stages
from edgetl.finetune.strategies import STRATEGIES, get_strategy, phases
from edgetl.finetune.training.config import LoopConfig, loop_config
from edgetl.finetune.training.rates import parameter_groups, schedule, set_rates

MODEL = get_backbone("residual_cnn").build(3)
STAGES = stages(MODEL)


def test_progressive_unfreezes_from_the_head_backwards() -> None:
    config = loop_config(STRATEGIES["progressive"].loop, {"epochs": 10})
    found = phases(config, STAGES)
    assert [phase.boundary for phase in found] == [4, 3, 2, 1, 0]
    assert [(phase.first, phase.last) for phase in found] == [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)]


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 50])
def test_every_epoch_belongs_to_one_phase(epochs: int) -> None:
    found = phases(LoopConfig(epochs=epochs, freeze="1.0", thaw=4), STAGES)
    assert [epoch for phase in found for epoch in range(phase.first, phase.last + 1)] == list(range(1, epochs + 1))


def test_rates_decay_towards_the_stem_and_norms_do_not_decay() -> None:
    config = LoopConfig(learning_rate=1.0, rate_decay=0.5, warmup=0.0)
    optimizer = torch.optim.SGD(parameter_groups(MODEL, STAGES, config), lr=1.0)
    set_rates(optimizer, config, 0, 100)
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    named = dict(MODEL.named_parameters())
    assert rate[id(named["head.weight"])] == 1.0
    assert rate[id(named["stages.2.body.0.weight"])] == 0.5 and rate[id(named["stem.0.weight"])] == 0.5**4
    assert decay[id(named["stem.0.weight"])] == 0.05 and decay[id(named["stem.1.weight"])] == 0.0
    assert decay[id(named["head.bias"])] == 0.0
    assert len(rate) == len(named)


def test_the_schedule_rises_then_falls_to_nothing() -> None:
    factors = [schedule(step, 100, 0.1) for step in range(100)]
    assert factors[0] == 0.1 and max(factors) == factors[9] == 1.0
    assert factors[:10] == sorted(factors[:10]) and factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[-1] < 0.001


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="unknown strategy `finetune`") as caught:
        get_strategy("finetune")
    assert "`fine-tune`" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="`epochs` is 0"):
        loop_config({}, {"epochs": 0})
    with pytest.raises(ConfigError) as caught:
        loop_config({}, {"learning_rat": 1.0})
    assert "`learning_rate`" in str(caught.value.hint)
