"""The training loop: every parameter learns, from whatever weights it starts with."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from edgetl.errors import ConfigError, DataError
from edgetl.finetune.graph import deploy
from edgetl.run import SampleRecord
from edgetl.tasks import Task
from edgetl.tasks.loading import prepare_files
from edgetl.types import Array, Pixels, Track

Augment = Literal["none", "shift", "crop-flip"]


class LoopConfig(msgspec.Struct, frozen=True, kw_only=True):
    """AdamW with a one-cycle learning rate; no weight decay on norms and biases.

    `augment`: `shift` moves and scales a little (digits, symbols), `crop-flip` is the usual one for photos.
    """

    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.0
    augment: Augment = "crop-flip"


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One line of metrics.jsonl. `loss` and `train_top1` are over the augmented training batches."""

    epoch: int
    loss: float
    train_top1: float
    learning_rate: float
    seconds: float


def train(
    model: nn.Module,
    pixels: Pixels,
    rows: Array,
    truths: Array,
    task: Task,
    config: LoopConfig,
    *,
    seed: int,
    track: Track,
) -> list[Epoch]:
    """Trains `model` in place on the `rows` of `pixels` (samples, height, width, 3); the last epoch's weights stay.

    `truths` are the label indices of these rows.

    No epoch is picked by its score, so nothing of the data is spent on choosing.
    Raises ConfigError when the loss or a weight is not finite.
    """
    torch.manual_seed(seed)
    deployed = deploy(model, task)
    augment = _augmentation(config.augment, task)
    steps = max(1, len(truths) // config.batch_size)
    optimizer = torch.optim.AdamW(_parameter_groups(model, config.weight_decay), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps * config.epochs)
    loss_function = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
    history = []
    model.train()
    for epoch in track(range(1, config.epochs + 1), "train", config.epochs):
        began, total, right, seen = time.perf_counter(), 0.0, 0, 0
        for step, batch in enumerate(_shuffled(len(truths), config.batch_size, seed + epoch)):
            target = torch.from_numpy(truths[batch])
            logits = model(deployed.normalise(augment(torch.from_numpy(pixels[rows[batch]]))))
            loss = loss_function(logits, target)
            if not torch.isfinite(loss):
                raise ConfigError(
                    f"the loss is {loss.item()} in epoch {epoch}, batch {step}",
                    hint="lower `--learning-rate`",
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
            right += int((logits.argmax(1) == target).sum())
            seen += len(batch)
        history.append(
            Epoch(
                epoch=epoch,
                loss=total / seen,
                train_top1=right / seen,
                learning_rate=float(schedule.get_last_lr()[0]),
                seconds=time.perf_counter() - began,
            )
        )
    model.eval()
    if not all(bool(torch.isfinite(value).all()) for value in model.state_dict().values()):
        raise ConfigError("the training ended with weights that are not finite", hint="lower `--learning-rate`")
    return history


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    plain = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _shuffled(samples: int, batch_size: int, seed: int) -> Iterator[Array]:
    """Index batches of one epoch; an incomplete last batch is left out unless it is the only one."""
    order = np.random.default_rng(seed).permutation(samples)
    for start in range(0, max(1, samples - batch_size + 1), batch_size):
        yield np.sort(order[start : start + batch_size])


def _augmentation(kind: Augment, task: Task) -> Callable[[Tensor], Tensor]:
    """Works on a uint8 batch (samples, height, width, 3), one random draw for each image."""
    size = (task.input.height, task.input.width)
    if kind == "none":
        return lambda batch: batch
    transform: Any = v2.RandomAffine(degrees=8, translate=(0.08, 0.08), scale=(0.9, 1.1))
    if kind == "crop-flip":
        transform = v2.Compose([v2.RandomResizedCrop(size, scale=(0.35, 1.0)), v2.RandomHorizontalFlip()])

    def augment(batch: Tensor) -> Tensor:
        channels_first = batch.permute(0, 3, 1, 2)
        return torch.stack([transform(image) for image in channels_first]).permute(0, 2, 3, 1)

    return augment


def decode_all(
    samples: Sequence[SampleRecord], root: Path, task: Task, store: Path, track: Track
) -> tuple[Pixels, dict[str, DataError]]:
    """All samples as one memory-mapped uint8 array (samples, height, width, 3) in the file `store`.

    Rows of images that cannot be decoded stay zero; the second result names them.
    """
    shape = (len(samples), task.input.height, task.input.width, 3)
    pixels = np.lib.format.open_memmap(store, mode="w+", dtype=np.uint8, shape=shape)
    # claimed now, because a full disk would end the process when a mapped page is written
    with store.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, store.stat().st_size)
    bad: dict[str, DataError] = {}
    decoded = prepare_files((root / sample.path for sample in samples), task.input)
    for i, image in enumerate(track(decoded, "decode", len(samples))):
        if isinstance(image, DataError):
            bad[samples[i].path] = image
        else:
            pixels[i] = image
    return pixels, bad
