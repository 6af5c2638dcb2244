"""The frozen backbone's features of the training images, and the linear head fitted to them."""

import msgspec
import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgetl.finetune.backbones.registry import head_name
from edgetl.finetune.cache.compute import Choice, choose, gmacs
from edgetl.finetune.cache.features import PLAIN, FeatureTable, activations
from edgetl.finetune.cache.pictures import Pictures
from edgetl.finetune.data.imbalance import class_weights, remedy
from edgetl.finetune.data.table import Samples
from edgetl.finetune.head.logistic import LinearHead, fit_head
from edgetl.finetune.material import Material, check_classes_left, skip_or_raise
from edgetl.finetune.training.config import Value
from edgetl.machine import detect
from edgetl.plugins import ENGINES, missing
from edgetl.run import Split
from edgetl.types import Array


class Extractor(msgspec.Struct, frozen=True, kw_only=True):
    """The backbone without its head, and where it runs."""

    module: nn.Module
    choice: Choice
    gmacs: float

    def facts(self) -> dict[str, Value]:
        expected = {f"expected_seconds {kind}": value for kind, value in self.choice.expected_seconds.items()}
        return {"frozen_part": self.choice.kind, "gmacs": round(self.gmacs, 4), **expected}


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Features (samples, width) and truths (samples,) of training images, and the head that fits them."""

    table: FeatureTable
    features: Array
    truths: NDArray[np.int64]
    head: LinearHead
    skipped: tuple[str, ...]


def extractor(material: Material) -> Extractor:
    """Takes the head off a copy of the model; its parameters stay shared."""
    model, task = material.model, material.task
    headless = without_head(model)
    cost = gmacs(headless.eval(), task.input.height, task.input.width)
    installed = not missing(ENGINES["onnxruntime"])
    exact = material.loop.precision == "fp32"
    choice = choose(detect(), cost, len(material.dataset.samples), engine_installed=installed, exact=exact)
    return Extractor(module=headless, choice=choice, gmacs=cost)


def without_head(model: nn.Module) -> nn.Module:
    """A module that gives what the head would get; it shares everything with `model`."""
    shell = _shallow(model, head_name(model))
    shell.set_submodule(head_name(model), nn.Identity())
    return shell


def _shallow(model: nn.Module, path: str) -> nn.Module:
    """A copy of the modules along `path`, so that one below can be replaced without touching `model`."""
    copied = model.__class__.__new__(model.__class__)
    copied.__dict__ = {**model.__dict__, "_modules": dict(model._modules)}
    name, _, rest = path.partition(".")
    if rest:
        copied._modules[name] = _shallow(model.get_submodule(name), rest)
    return copied


def probe(material: Material, found: Extractor) -> Probe:
    """Computes what the cache lacks and fits the head."""
    table = features_of(material, found, "train")
    skipped = skip_or_raise(table.bad, material.skip_bad_images)
    samples = material.dataset.split("train")
    features, truths = table.rows(samples)
    check_classes_left(truths, material.task)
    head = _fitted(material, features, truths, samples.groups[table.numbers >= 0])
    return Probe(table=table, features=features, truths=truths, head=head, skipped=skipped)


def refitted(material: Material, fitted: Probe, samples: Samples) -> LinearHead:
    """The head fitted again to some of the samples only: those it is judged by must be new to it."""
    features, truths = fitted.table.rows(samples)
    return _fitted(material, features, truths, samples.groups)


def _fitted(material: Material, features: Array, truths: NDArray[np.int64], groups: NDArray[np.int32]) -> LinearHead:
    return fit_head(
        features,
        truths,
        len(material.task.labels),
        seed=material.seed,
        track=material.track,
        groups=groups if (groups >= 0).any() else None,
        sample_weight=sample_weights(material, truths),
    )


def sample_weights(material: Material, truths: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """For the head a weight does what sampling does for a loop."""
    if remedy(material.loop.imbalance, truths) == "none":
        return None
    return class_weights(truths, len(material.task.labels))[truths]


def features_of(material: Material, found: Extractor, split: Split) -> FeatureTable:
    samples: Samples = material.dataset.split(split)
    pictures = Pictures(samples=samples, root=material.dataset.root, spec=material.task.input)
    return material.team.first(
        lambda: activations(found.module, pictures, material.task, found.choice, PLAIN, material.cache, material.track)
    )
