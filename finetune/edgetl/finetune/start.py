"""What a run starts from: data, weights, task and model, read and checked before anything is learned."""

from pathlib import Path

import msgspec
from torch import nn

from edgetl.errors import ConfigError, DataError
from edgetl.finetune.backbones.registry import Backbone, get_backbone, head_of, recipe
from edgetl.finetune.backbones.weights import Weights, build_model, distinct, read_weights
from edgetl.finetune.config import FinetuneConfig, check_options
from edgetl.finetune.data.dataset import Dataset, read_dataset
from edgetl.finetune.data.huggingface import is_huggingface
from edgetl.finetune.data.leakage import Leakage, find_leaks
from edgetl.finetune.strategies import AUTO, get_strategy, without_effect
from edgetl.finetune.training.config import loop_config
from edgetl.tasks import ImageClassification
from edgetl.types import Track


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What is read before anything is learned."""

    config: FinetuneConfig
    backbone: Backbone
    weights: Weights
    dataset: Dataset
    leakage: Leakage
    task: ImageClassification
    model: nn.Module
    notes: tuple[str, ...]


def start_of(config: FinetuneConfig, track: Track) -> Start:
    _check_options(config)
    if not is_huggingface(config.data) and not Path(config.data).exists():
        raise DataError(f"the data folder `{config.data}` does not exist", hint="check the path")
    backbone = get_backbone(config.backbone)
    weights = read_weights(backbone, "none" if config.strategy == "from-scratch" else config.weights)
    kept = labels_of(config, weights.labels) if config.strategy == "none" else None
    dataset = read_dataset(config.data, seed=config.seed, labels=kept, training=kept is None, track=track)
    task = _task(config, backbone, weights, dataset)
    classes = None if kept is not None and weights.state is not None else len(task.labels)
    model, notes = build_model(backbone, weights.state, classes, seed=config.seed)
    if head_of(model).out_features != len(task.labels):
        raise DataError(
            f"the weights have {head_of(model).out_features} outputs, {len(task.labels)} labels were given",
            hint="one label a line, in output order",
        )
    return Start(
        config=config, backbone=backbone, weights=weights, dataset=dataset, leakage=find_leaks(dataset, track),
        task=task, model=model, notes=tuple(notes),
    )  # fmt: skip


def _check_options(config: FinetuneConfig) -> None:
    """Options that images or the strategy would ignore are mistakes."""
    check_options(config, "image")
    if config.strategy != AUTO:
        strategy = get_strategy(config.strategy)
        if ignored := without_effect(strategy, config.loop):
            hint = "`--strategy fine-tune` trains"
            raise ConfigError(f"`{config.strategy}` trains nothing, so `{ignored[0]}` has no effect", hint=hint)
    loop_config({}, config.loop)
    if config.labels is not None and config.strategy != "none":
        raise ConfigError("`--labels` goes with `--strategy none`", hint="otherwise the class folders are the labels")
    if config.strategy == "from-scratch" and config.weights not in ("default", "none"):
        raise ConfigError("`from-scratch` takes no `--weights`", hint="`--strategy fine-tune` starts from weights")


def labels_of(config: FinetuneConfig, own: tuple[str, ...] | None) -> tuple[str, ...]:
    """The labels of the weights' own head: from `--labels`, else what the weights say. Raises DataError."""
    if config.labels is not None:
        path = Path(config.labels)
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise DataError(f"the labels file `{path}` {what}", hint="one label a line, in output order")
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise DataError(f"the labels file `{path}` is not UTF-8 text", hint="one label a line") from error
        if not lines:
            raise DataError(f"the labels file `{path}` is empty", hint="one label a line, in output order")
        return distinct(lines)
    if own is None:
        raise DataError("the weights do not say what their outputs mean", hint="pass `--labels FILE`, one label a line")
    return own


def _task(config: FinetuneConfig, backbone: Backbone, weights: Weights, dataset: Dataset) -> ImageClassification:
    """Labels and input of the run: the weights' own recipe where they carry one, else torchvision's."""
    if weights.task is not None and config.size is None:
        return msgspec.structs.replace(weights.task, labels=dataset.labels, temperature=1.0)
    chosen = recipe(backbone, newest=config.weights == "default", size=config.size)
    return ImageClassification(labels=dataset.labels, input=chosen.input, mean=chosen.mean, std=chosen.std)
