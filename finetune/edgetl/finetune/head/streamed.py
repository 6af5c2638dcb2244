"""The linear head for more features than memory should hold: read in pieces, fitted in minibatches."""

from typing import Protocol

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from edgetl.types import Array, Track

CHUNK = 8192
"""Rows in memory at a time: 1280 float32 features of so many take 42 MB."""

BATCH = 256
LEAST_EPOCHS, LEAST_STEPS = 12, 3000
"""Few samples are passed over more often, until so many steps are made."""

LEARNING_RATE = 1e-2
"""Peak of Adam's rate on standardised features; it falls to zero along a half cosine."""

AVERAGED = 0.25
"""The result is the mean of the weights over this last part of the steps (Polyak & Juditsky, SIAM J. Control 1992)."""


class Rows(Protocol):
    """Features (samples, width), in memory or on disk, read by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, positions: Array, /) -> Array: ...


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """Mean and standard deviation (width,) of the features; one for a feature that does not vary."""

    mean: Array
    std: Array

    def __call__(self, features: Array) -> Array:
        """Standardised, as float64."""
        return np.asarray((features - self.mean) / self.std, np.float64)


def scale_of(features: Rows) -> Scale:
    """Mean and standard deviation, read in chunks (Chan, Golub & LeVeque, The American Statistician 37, 1983)."""
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for start in range(0, len(features), CHUNK):
        chunk = np.asarray(features[np.arange(start, min(start + CHUNK, len(features)))], np.float64)
        shift = chunk.mean(axis=0) - mean
        total = count + len(chunk)
        squares = squares + ((chunk - chunk.mean(axis=0)) ** 2).sum(axis=0) + shift**2 * count * len(chunk) / total
        mean, count = mean + shift * len(chunk) / total, total
    std = np.sqrt(squares / count)
    return Scale(mean=mean, std=np.where(std > 1e-6 * max(float(std.max()), 1e-30), std, 1.0))


def fit_streamed(
    features: Rows, truths: Array, classes: int, weights: Array, scale: Scale, c: float, *, seed: int, track: Track
) -> tuple[Array, Array]:
    """Weight (classes, width) and bias (classes,) on standardised features, minimising scikit-learn's objective.

    That is the mean weighted cross-entropy plus |weight|² / (2 · C · samples), by Adam with averaged weights.
    """
    samples = len(truths)
    linear = nn.Linear(len(scale.mean), classes)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    batches = sum(-(-min(CHUNK, samples - start) // BATCH) for start in range(0, samples, CHUNK))
    epochs = max(LEAST_EPOCHS, -(-LEAST_STEPS // batches))
    steps = epochs * batches
    optimizer = torch.optim.Adam(linear.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    averaged = torch.optim.swa_utils.AveragedModel(linear)
    rng, step = np.random.default_rng(seed), 0
    for _ in track(range(epochs), "fit the head", epochs):
        order = rng.permutation(samples)
        for start in range(0, samples, CHUNK):
            positions = np.sort(order[start : start + CHUNK])  # sorted: neighbours on disk are read together
            chunk = torch.from_numpy(scale(features[positions]).astype(np.float32))
            target, weight = torch.from_numpy(truths[positions]).long(), torch.from_numpy(weights[positions]).float()
            for batch in torch.split(torch.from_numpy(rng.permutation(len(positions))), BATCH):
                loss = _loss(linear, chunk[batch], target[batch], weight[batch], 1 / (c * samples))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                step += 1
                if step > (1 - AVERAGED) * steps:
                    averaged.update_parameters(linear)
    result = averaged.module
    assert isinstance(result, nn.Linear)
    return result.weight.detach().double().numpy(), result.bias.detach().double().numpy()


def _loss(linear: nn.Linear, rows: Tensor, target: Tensor, weight: Tensor, decay: float) -> Tensor:
    losses = nn.functional.cross_entropy(linear(rows), target, reduction="none")
    return (losses * weight).mean() + decay / 2 * linear.weight.square().sum()
