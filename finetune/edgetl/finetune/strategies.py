"""The transfer strategies: what is kept of the weights and what is learned."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from torch import nn

from edgetl.cache import cache_directory
from edgetl.errors import DataError
from edgetl.finetune.backbones import head_name
from edgetl.finetune.batches import batches
from edgetl.finetune.compute import choose, gmacs
from edgetl.finetune.data import Dataset
from edgetl.finetune.features import FeatureTable, cached_features
from edgetl.finetune.graph import torch_predictor
from edgetl.finetune.head import fit_head
from edgetl.finetune.loop import LoopConfig, decode_all, train
from edgetl.machine import detect
from edgetl.plugins import ENGINES, missing
from edgetl.run import Split
from edgetl.tasks import Task
from edgetl.tasks.loading import prepare_files
from edgetl.types import Array, Track


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy's result: the model, its headline metrics, the way there, splits decoded, images left out."""

    model: nn.Module
    metrics: dict[str, float]
    history: Sequence[msgspec.Struct]
    epochs: int
    compute: dict[str, str | int | float]
    decoded: tuple[Split, ...]
    skipped: tuple[str, ...] = ()


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """What every strategy starts from. `scratch` is removed after the run."""

    model: nn.Module
    dataset: Dataset
    task: Task
    loop: LoopConfig
    seed: int
    skip_bad_images: bool
    scratch: Path
    track: Track


def feature_extraction(material: Material) -> Learned:
    """A linear head on the frozen backbone; `test` is touched only after the head is fitted."""
    dataset, task, model = material.dataset, material.task, material.model
    head_at = head_name(model)
    model.set_submodule(head_at, nn.Identity())
    cache = cache_directory("features")
    cost = gmacs(model.eval(), task.input.height, task.input.width)
    installed = not missing(ENGINES["onnxruntime"])
    choice = choose(detect(), cost, len(dataset.samples), engine_installed=installed)

    def table(split: Split) -> FeatureTable:
        samples = dataset.split(split)
        return cached_features(model, samples, dataset.root, task, choice, cache, material.track)

    train_table = table("train")
    skipped = skip_or_raise(train_table.bad, material.skip_bad_images)
    features, truths = train_table.rows(dataset.split("train"))
    check_classes_left(truths, task)
    head = fit_head(features, truths, len(task.labels), seed=material.seed, track=material.track)
    judged_table = table(dataset.headline)
    skipped += skip_or_raise(judged_table.bad, material.skip_bad_images)
    judged, judged_truths = judged_table.rows(dataset.split(dataset.headline))
    model.set_submodule(head_at, head.module())
    compute: dict[str, str | int | float] = {
        "frozen_part": choice.kind,
        "images_computed": train_table.computed + judged_table.computed,
        "gmacs": round(cost, 4),
        "c": head.c,
    }
    compute |= {f"expected_seconds {kind}": value for kind, value in choice.expected_seconds.items()}
    return Learned(
        model=model,
        metrics=task.score(head.logits(judged).argmax(1), judged_truths),
        history=head.candidates,
        epochs=0,
        compute=compute,
        decoded=("train", dataset.headline),
        skipped=tuple(skipped),
    )


def fine_tune(material: Material) -> Learned:
    """The linear head first, then every parameter, so that a random head does not spoil the features.

    Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022.
    """
    probed = feature_extraction(material)
    learned = _train_all(msgspec.structs.replace(material, model=probed.model))
    skipped = tuple(dict.fromkeys((*probed.skipped, *learned.skipped)))
    return msgspec.structs.replace(learned, compute=probed.compute | learned.compute, skipped=skipped)


def from_scratch(material: Material) -> Learned:
    """Every parameter of the architecture, from random weights."""
    return _train_all(material)


def _train_all(material: Material) -> Learned:
    """The training loop over all parameters of the model as it comes, then the headline metric."""
    samples = material.dataset.split("train")
    pixels, bad = decode_all(
        samples, material.dataset.root, material.task, material.scratch / "pixels.npy", material.track
    )
    skipped = skip_or_raise(bad, material.skip_bad_images)
    kept = np.array([i for i, sample in enumerate(samples) if sample.path not in bad])
    truths = np.array([samples[i].label for i in kept])
    check_classes_left(truths, material.task)
    history = train(
        material.model, pixels, kept, truths, material.task, material.loop, seed=material.seed, track=material.track
    )
    metrics, more = evaluate(material)
    return Learned(
        model=material.model,
        metrics=metrics,
        history=history,
        epochs=len(history),
        compute={"training": "torch-fp32"},
        decoded=("train", material.dataset.headline),
        skipped=(*skipped, *more),
    )


def keep_head(material: Material) -> Learned:
    """`none`: the weights as they are."""
    metrics, skipped = evaluate(material)
    return Learned(
        model=material.model,
        metrics=metrics,
        history=(),
        epochs=0,
        compute={},
        decoded=(material.dataset.headline,),
        skipped=tuple(skipped),
    )


STRATEGIES: dict[str, Callable[[Material], Learned]] = {
    "feature-extraction": feature_extraction,
    "fine-tune": fine_tune,
    "from-scratch": from_scratch,
    "none": keep_head,
}


def evaluate(material: Material) -> tuple[dict[str, float], list[str]]:
    """The metrics of torch FP32 on the headline split, and the images left out."""
    dataset, task = material.dataset, material.task
    samples = dataset.split(dataset.headline)
    decoded = prepare_files((dataset.root / sample.path for sample in samples), task.input)
    bad: dict[str, DataError] = {}
    predictions, truths = [], []
    predict = torch_predictor(material.model.eval(), task)
    watched = material.track(zip(samples, decoded, strict=True), "evaluate", len(samples))
    for labels, batch in batches(watched, bad, lambda sample: sample.label):
        predictions.append(predict(batch).argmax(1))
        truths += labels
    skipped = skip_or_raise(bad, material.skip_bad_images)
    if not truths:
        raise DataError(f"no {dataset.headline} image of `{dataset.root}` can be decoded", hint="check the files")
    return task.score(np.concatenate(predictions), np.array(truths)), skipped


def skip_or_raise(bad: Mapping[str, DataError], skip: bool) -> list[str]:
    """The paths of images that cannot be decoded; without `skip` they are a DataError that lists them."""
    if bad and not skip:
        shown = "\n".join(error.message for error in list(bad.values())[:10])
        more = f"\nand {len(bad) - 10} more" if len(bad) > 10 else ""
        raise DataError(
            f"{len(bad)} image{'s' if len(bad) > 1 else ''} cannot be used:\n{shown}{more}",
            hint="`--skip-bad-images` leaves such files out and lists them",
        )
    return list(bad)


def check_classes_left(truths: Array, task: Task) -> None:
    """After bad images are left out, every class must still have two images to learn from."""
    counts = np.bincount(truths.astype(np.int64), minlength=len(task.labels))
    if counts.min() < 2:
        raise DataError(
            f"the class `{task.labels[int(counts.argmin())]}` has {counts.min()} usable train images",
            hint="each class needs at least two",
        )
