"""The frozen encoder's embeddings of the training texts, kept on disk by content, and the head fitted to them."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetl.finetune.backbones.registry import head_of
from edgetl.finetune.backbones.weights import state_digest
from edgetl.finetune.cache.compute import native_bf16
from edgetl.finetune.cache.features import FeatureTable
from edgetl.finetune.cache.pictures import absent
from edgetl.finetune.cache.room import store_key
from edgetl.finetune.cache.store import RowStore
from edgetl.finetune.data.imbalance import class_weights, remedy
from edgetl.finetune.data.table import Samples
from edgetl.finetune.head.logistic import LinearHead, fit_head
from edgetl.finetune.head.probe import without_head
from edgetl.finetune.text.material import TextMaterial, outputs_of
from edgetl.finetune.training.config import Value
from edgetl.machine import detect
from edgetl.tasks.tokens import tokeniser_version
from edgetl.types import Array

TOGETHER = 8192
"""So many texts are embedded before their rows are on disk: a kill costs no more."""


class TextProbe(msgspec.Struct, frozen=True, kw_only=True):
    """Embeddings (samples, width) and truths (samples,) of the training texts, and the head that fits them."""

    table: FeatureTable
    features: Array
    truths: NDArray[np.int64]
    head: LinearHead
    bf16: bool

    def facts(self) -> dict[str, Value]:
        kind = "torch-bf16" if self.bf16 else "torch-fp32"
        return {"frozen_part": kind, "texts_computed": self.table.computed, "c": self.head.c}


def probe(material: TextMaterial) -> TextProbe:
    """Computes what the cache lacks, in bfloat16 where the processor multiplies it itself, and fits the head."""
    bf16 = native_bf16(detect()) and material.loop.precision != "fp32"
    samples = material.data.dataset.split("train")
    table = _embedded(material, samples, bf16=bf16)
    features, truths = table.rows(samples)
    return TextProbe(
        table=table, features=features, truths=truths, head=_fitted(material, features, samples), bf16=bf16
    )


def refitted(material: TextMaterial, fitted: TextProbe, samples: Samples) -> LinearHead:
    """The head fitted again to some of the samples only: those it is judged by must be new to it."""
    return _fitted(material, fitted.table.rows(samples)[0], samples)


def _embedded(material: TextMaterial, samples: Samples, *, bf16: bool) -> FeatureTable:
    """A row for every text: what the head would get."""
    encoder = without_head(material.model)
    width = head_of(material.model).in_features
    identity = [bf16, state_digest(encoder), material.tokeniser, material.task.input, tokeniser_version()]
    store = RowStore(material.cache.root / store_key("texts", identity), (width,), np.float32)
    computed = 0
    with store.writing():
        todo = absent(store, samples.digests)
        for start in range(0, len(todo), TOGETHER):
            part = samples.take(todo[start : start + TOGETHER])
            store.append(part.digests, outputs_of(encoder, material, part, "embed texts", bf16=bf16))
            computed += len(part)
        numbers = store.find(samples.digests)
    return FeatureTable(samples=samples, store=store, numbers=numbers, bad={}, computed=computed)


def _fitted(material: TextMaterial, features: Array, samples: Samples) -> LinearHead:
    truths, labels = np.asarray(samples.labels, np.int64), len(material.task.labels)
    weigh = remedy(material.loop.imbalance, truths) != "none"
    grouped = bool((samples.groups >= 0).any())
    return fit_head(
        features,
        truths,
        labels,
        seed=material.seed,
        track=material.track,
        groups=samples.groups if grouped else None,
        sample_weight=class_weights(truths, labels)[truths] if weigh else None,
    )
