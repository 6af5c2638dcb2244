"""Which part of the network learns in a phase, and where its inputs come from: pixels, or cached activations."""

from collections.abc import Callable

import numpy as np

from edgetl.errors import ConfigError
from edgetl.finetune.backbones.stages import Stage, split
from edgetl.finetune.cache.compute import choose, gmacs
from edgetl.finetune.cache.features import PLAIN, Rows, View, activations
from edgetl.finetune.cache.frozen import output_shape, row_dtype
from edgetl.finetune.cache.pictures import Pictures
from edgetl.finetune.graph import deploy
from edgetl.finetune.material import Material
from edgetl.finetune.strategies import Phase
from edgetl.finetune.training.augment import Augment
from edgetl.finetune.training.feeds import PixelFeed, RowFeed
from edgetl.finetune.training.job import Part
from edgetl.finetune.training.pools import Pools
from edgetl.machine import detect
from edgetl.plugins import ENGINES, missing


def entrance(
    material: Material, pools: Pools, stages: tuple[Stage, ...], say: Callable[[str], None]
) -> Callable[[Phase], Part]:
    """For each phase its part. What is frozen is computed once a view, unless the cache has no room or the network
    cannot be cut there, which `say` tells: then the frozen stages run in every step.
    """

    def enter(phase: Phase) -> Part:
        if phase.boundary == 0:
            return _whole(material, pools)
        try:
            return _cut(material, pools, phase.boundary, stages[phase.boundary - 1].name)
        except ConfigError as error:
            say(f"the frozen stages run in every step: {error.message}")
            return _whole(material, pools)

    return enter


def _whole(material: Material, pools: Pools) -> Part:
    entry = deploy(material.model, material.task).to(material.team.device)

    def feed(pictures: Pictures, augment: Augment) -> PixelFeed:
        return PixelFeed(
            pictures=pictures, entrance=entry, device=material.team.device, augment=augment, seed=material.seed
        )

    judged = pools.held or pools.fit
    return Part(module=material.model, feed=feed(pools.fit, material.loop.augment), judged=feed(judged, "none"))


def _cut(material: Material, pools: Pools, boundary: int, name: str) -> Part:
    """Raises ConfigError when the network cannot be cut at `boundary` or the rows do not fit into the cache."""
    frozen, rest = split(material.model, boundary)
    frozen.cpu()
    task, config = material.task, material.loop
    images = len(pools.fit.samples) * config.views + len(pools.held.samples if pools.held else ())
    cost = gmacs(frozen.eval(), task.input.height, task.input.width)
    installed = not missing(ENGINES["onnxruntime"])
    choice = choose(detect(), cost, images, engine_installed=installed, exact=config.precision == "fp32")
    shape = output_shape(frozen, task)
    if not material.cache.holds(images, shape, row_dtype(choice)):
        needed = images * int(np.prod(shape)) * np.dtype(row_dtype(choice)).itemsize / 1e9
        raise ConfigError(f"their activations need {needed:.1f} GB, more than `--cache-gb` allows")

    def rows(pictures: Pictures, view: View) -> Rows:
        table = material.team.first(
            lambda: activations(
                frozen, pictures, task, choice, view, material.cache, material.track, part=f"frozen to {name}"
            )
        )
        return Rows(table.store, table.numbers)

    views = [PLAIN, *(View(number=i, augment=config.augment, seed=material.seed) for i in range(1, config.views))]
    device = material.team.device
    return Part(
        module=rest.to(device),
        feed=RowFeed(views=[rows(pools.fit, view) for view in views], device=device),
        judged=RowFeed(views=[rows(pools.held or pools.fit, PLAIN)], device=device),
    )
