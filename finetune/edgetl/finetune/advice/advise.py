"""The stage: (data, candidates) → which pretrained weights fit the data best, and which strategy fits both."""

import math
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import torch
from torch import nn

from edgetl.cache import cache_directory
from edgetl.errors import ConfigError, DataError
from edgetl.finetune.advice.similarity import Similarity, measure
from edgetl.finetune.backbones.registry import Backbone, get_backbone, head_name, head_of, recipe
from edgetl.finetune.backbones.weights import Weights, build_model, read_weights
from edgetl.finetune.cache.compute import choose, gmacs
from edgetl.finetune.cache.features import cached_features
from edgetl.finetune.data.dataset import Dataset, read_dataset
from edgetl.finetune.data.table import Samples
from edgetl.finetune.graph import deploy, export_onnx
from edgetl.finetune.head.folds import stratified_rows
from edgetl.machine import detect
from edgetl.plugins import ENGINES, missing
from edgetl.runtime.engines import open_engine
from edgetl.tasks import ImageClassification
from edgetl.types import Array, Option, Track, silent

Case = Literal["near and small", "near and large", "far and small", "far and large", "rare class"]

MAX_SAMPLES = 2000
"""So many training images tell 97 % from 96 % accuracy, and take seconds; the rest is not looked at."""

NEAR = 0.85
"""From this accuracy of the linear probe on, chance taken as 0, the backbone knows the classes already."""

NEIGHBOURS_AGREE = 0.5
"""Below this accuracy of the neighbours, chance taken as 0, a good probe is not believed."""

SMALL = 1000
"""Fewer training images than this cannot pay for the freedom of all parameters."""

RARE = 10
"""With fewer images of a class than this, training learns those images instead of the class: with 120 bees and 2 ants
it reached 38 % macro-F1 on hymenoptera, the head alone 44 %."""

CASES: dict[Case, tuple[str, str]] = {
    "near and small": ("feature-extraction", "the features fit as they are, and more freedom would overfit"),
    "near and large": ("fine-tune", "the features fit, and there are enough {what} to refine them"),
    "far and small": (
        "layer-wise", "the features must change, but with few {what} the early layers should hardly move",
    ),
    "far and large": ("fine-tune", "the features must change, and there are enough {what} to change them all"),
    "rare class": ("feature-extraction", "more freedom would learn the few {what} of the rarest class by heart"),
}  # fmt: skip
"""What to do in each case: Yosinski et al., "How transferable are features in deep neural networks?", NIPS 2014."""

WARM_UP, QUERIES = 20, 100


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy, the case it is the answer to, and the reason as a sentence with the numbers in it."""

    strategy: str
    case: Case
    reason: str


class AdviseConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `advise` is asked: `backbones` and `weights` are pairs, in order; a backbone may stand twice."""

    data: str
    backbones: tuple[str, ...]
    weights: tuple[str, ...]
    seed: int = 0


class Stopwatch(msgspec.Struct, frozen=True, kw_only=True):
    """The engine of this machine that latency is measured with, and its options."""

    engine: str
    options: dict[str, Option] = {}


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Median milliseconds of `samples` queries of one image: the engine alone, FP32, this machine."""

    p50: float
    samples: int
    engine: str


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One backbone with weights: how similar, how large, how fast. `gmacs`: 10⁹ multiply-accumulates an image."""

    backbone: str
    weights: str
    logme: float
    leep: float | None
    probe_top1: float
    probe_top1_error: float
    neighbour_top1: float
    parameters: int
    gmacs: float
    latency_ms: Latency | None
    similarity: Similarity


class Recommended(msgspec.Struct, frozen=True, kw_only=True):
    """What `finetune` takes as `--backbone` and `--weights`."""

    backbone: str
    weights: str


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What `advise --json` prints; candidates best first."""

    recommended: Recommended
    strategy: str
    case: Case
    reason: str
    train_samples: int
    seconds: float
    candidates: tuple[Candidate, ...]
    left_out: tuple[str, ...] = ()


def advise(config: AdviseConfig, track: Track = silent, *, stopwatch: Stopwatch | None = None) -> Advice:
    """Measures every candidate on up to `MAX_SAMPLES` training images.

    Raises ConfigError, DataError, ArtefactError, DependencyError; EngineError where latency is measured.
    """
    began = time.perf_counter()
    if not config.backbones or len(config.backbones) != len(config.weights):
        raise ConfigError(
            f"there are {len(config.backbones)} backbones and {len(config.weights)} weights",
            hint="one `--weights` for each of `--backbones`, in the same order",
        )
    pairs = [(get_backbone(name), source) for name, source in zip(config.backbones, config.weights, strict=True)]
    dataset = read_dataset(Path(config.data), seed=config.seed, track=track)
    train = dataset.split("train")
    samples = train.take(stratified_rows(train.labels, MAX_SAMPLES, seed=config.seed))
    measured: list[Candidate] = []
    bad: dict[str, None] = {}  # a set in order: every candidate meets the same ones
    for backbone, source in pairs:
        candidate, undecodable = _measure(backbone, source, dataset, samples, config.seed, track, stopwatch)
        measured.append(candidate)
        bad |= dict.fromkeys(undecodable)
    best, *_ = ranking = ranked(measured)
    decision = decide(best.similarity, len(train), rarest(np.asarray(train.labels)))
    return Advice(
        recommended=Recommended(backbone=best.backbone, weights=best.weights),
        strategy=decision.strategy,
        case=decision.case,
        reason=decision.reason,
        train_samples=len(train),
        seconds=time.perf_counter() - began,
        candidates=tuple(ranking),
        left_out=tuple(bad),
    )


def rarest(truths: Array) -> int:
    """Images of the smallest class that has any."""
    return int(np.unique(truths, return_counts=True)[1].min())


def decide(similarity: Similarity, train_samples: int, rarest: int, what: str = "images") -> Decision:
    """The strategy for this similarity, number of training images, and of those of the rarest class: `CASES`."""
    neighbours = (similarity.neighbour_top1 - similarity.chance) / (1 - similarity.chance)
    near = similarity.corrected_top1 >= NEAR and neighbours >= NEIGHBOURS_AGREE
    small = train_samples < SMALL
    case: Case = ("near and small" if small else "near and large") if near else (
        "far and small" if small else "far and large"
    )  # fmt: skip
    case = "rare class" if rarest < RARE else case
    strategy, because = CASES[case]
    why = because.format(what=what)
    reason = (
        f"on {similarity.samples} training {what} a linear probe reaches {similarity.probe_top1:.1%} top-1 "
        f"(± {similarity.standard_error:.1%}; naming the largest class {similarity.chance:.1%}) and the nearest "
        f"neighbours {similarity.neighbour_top1:.1%}, so the data are {'near to' if near else 'far from'} what the "
        f"backbone knows; {train_samples} training {what} are {'few' if small else 'many'}, "
        f"{rarest} of the rarest class: {why}."
    )
    return Decision(strategy=strategy, case=case, reason=reason[0].upper() + reason[1:])


def ranked(candidates: list[Candidate]) -> list[Candidate]:
    """Best first: the highest LogME among those whose probe is as good as the best one's, and so on with the rest.

    As good is a difference of at most its standard error, the two accuracies taken as independent. That the samples
    are the same makes the true error smaller, so LogME gets a little more to say.
    """
    left, order = list(candidates), []
    while left:
        leader = max(left, key=lambda each: each.probe_top1)
        equal = [each for each in left if leader.probe_top1 - each.probe_top1 <= _error_of_difference(leader, each)]
        order.append(max(equal, key=lambda each: (each.logme, each.probe_top1)))
        left = [each for each in left if each is not order[-1]]
    return order


def _error_of_difference(one: Candidate, other: Candidate) -> float:
    return 0.0 if one is other else math.hypot(one.probe_top1_error, other.probe_top1_error)


def _measure(
    backbone: Backbone,
    source: str,
    dataset: Dataset,
    samples: Samples,
    seed: int,
    track: Track,
    stopwatch: Stopwatch | None,
) -> tuple[Candidate, list[str]]:
    """The candidate, and the images that cannot be decoded."""
    weights = read_weights(backbone, source)
    task = _task(backbone, source, weights, dataset.labels)
    model, head = _with_own_head(backbone, weights, len(task.labels), seed)
    latency = _latency(model, task, stopwatch) if stopwatch else None
    model.set_submodule(head_name(model), nn.Identity())
    cost = gmacs(model, task.input.height, task.input.width)
    installed = not missing(ENGINES["onnxruntime"])
    choice = choose(detect(), cost, len(samples), engine_installed=installed)
    table = cached_features(model, samples, dataset.root, task, choice, cache_directory("features"), track)
    with closing(table.store):
        features, truths = table.rows(samples)
    if len(np.unique(truths)) < 2 or np.bincount(truths)[np.unique(truths)].min() < 2:
        raise DataError("too few train images can be decoded", hint="each class needs at least two")
    found = measure(features, truths, _source_logits(head, features), len(task.labels), seed=seed, track=track)
    candidate = Candidate(
        backbone=backbone.name,
        weights=source,
        logme=found.logme,
        leep=found.leep,
        probe_top1=found.probe_top1,
        probe_top1_error=found.standard_error,
        neighbour_top1=found.neighbour_top1,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        gmacs=cost,
        latency_ms=latency,
        similarity=found,
    )
    return candidate, list(table.bad)


def _task(backbone: Backbone, source: str, weights: Weights, labels: tuple[str, ...]) -> ImageClassification:
    """The input the weights expect, as `finetune` would choose it."""
    if weights.task is not None:
        return msgspec.structs.replace(weights.task, labels=labels, temperature=1.0)
    chosen = recipe(backbone, newest=source == "default")
    return ImageClassification(labels=labels, input=chosen.input, mean=chosen.mean, std=chosen.std)


def _with_own_head(backbone: Backbone, weights: Weights, classes: int, seed: int) -> tuple[nn.Module, nn.Linear | None]:
    """The model with the head its weights have, and that head; a fresh one, and None, where they have none."""
    with torch.device("meta"):
        key = f"{head_name(backbone.build(2))}.weight"
    own = weights.state is not None and key in weights.state and weights.state[key].ndim == 2
    model, _ = build_model(backbone, weights.state, None if own else classes, seed=seed)
    return model.eval(), head_of(model) if own else None


def _source_logits(head: nn.Linear | None, features: Array) -> Array | None:
    if head is None:
        return None
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    return np.asarray(features @ weight.T + bias)


def _latency(model: nn.Module, task: ImageClassification, stopwatch: Stopwatch) -> Latency:
    """The model with the head it has: next to the backbone a head costs nothing."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1, task.input.height, task.input.width, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(deploy(model, task), task.inputs, path)
        engine = open_engine(stopwatch.engine, path, stopwatch.options)
        try:
            seconds = []
            for _ in range(WARM_UP + QUERIES):
                began = time.perf_counter()
                engine.run({"image": pixels})
                seconds.append(time.perf_counter() - began)
        finally:
            engine.close()
    return Latency(p50=1000 * float(np.median(seconds[WARM_UP:])), samples=QUERIES, engine=stopwatch.engine)
