"""The training of a detector: epochs, steps, judgements; what it has learned is whole on disk every few minutes."""

import contextlib
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetl.finetune.detection.epochs import close_epoch, take_best
from edgetl.finetune.detection.job import DetectionJob
from edgetl.finetune.detection.models.detector import Detector, Target
from edgetl.finetune.detection.parameters import frozen_part, parameter_groups, set_learning, set_rates
from edgetl.finetune.training.average import Average
from edgetl.finetune.training.checkpoint import (
    Checkpoint,
    Epoch,
    Progress,
    TrainingError,
    optimizer_tensors,
    restore_optimizer,
)
from edgetl.types import Track

SAVE_SECONDS = 300.0
"""The state is saved at least this often; a kill costs at most so much."""

NAMED = 4
"""So many files of a batch are named when its loss is not finite."""


def train(job: DetectionJob, checkpoint: Checkpoint, track: Track) -> list[Epoch]:
    """Trains `job.detector` in place and leaves the weights of the best epoch in it, or the last where none is judged.

    Every random draw follows from the seed, the epoch and the step alone. Raises TrainingError when the loss or a
    weight is not finite.
    """
    config, state, device = job.config, checkpoint.progress, job.enter.device
    detector: Detector = job.detector.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    frozen = frozen_part(detector, config)
    optimizer = torch.optim.AdamW(parameter_groups(detector, frozen, config), lr=config.learning_rate, fused=True)
    average = Average(detector, config.ema) if config.ema else None
    _restore(checkpoint, detector, optimizer, average)
    steps = max(1, len(job.views.boxes) // config.batch_size)
    total = steps * config.epochs
    bar = track(range(total), lambda: _line(state), total)
    for _ in range((state.epoch - 1) * steps + state.step):
        next(bar)
    saved = time.monotonic()
    while not state.finished:
        set_learning(detector, frozen, config)
        for positions in _batches(job, state.epoch, steps)[state.step :]:
            began = time.perf_counter()
            pixels, targets = job.views.read(positions, state.epoch)
            set_rates(optimizer, config, (state.epoch - 1) * steps + state.step, total)
            torch.manual_seed(_step_seed(job.seed, state.epoch, state.step))
            with torch.autocast(device.type, torch.bfloat16, enabled=job.bf16):
                losses = detector.loss(job.enter(pixels), [moved(each, device) for each in targets])
            loss = torch.stack([each.float() for each in losses.values()]).sum()
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            norm = nn.utils.clip_grad_norm_(detector.parameters(), config.clip_norm or torch.inf)
            if not (torch.isfinite(loss) and torch.isfinite(norm)):
                raise _diverged(job, loss, state.epoch, state.step, positions)
            optimizer.step()
            if average:
                average.update()
            state.loss_sum += loss.item() * len(positions)
            state.seen += len(positions)
            state.seconds += time.perf_counter() - began
            state.step += 1
            next(bar, None)
            if time.monotonic() - saved > SAVE_SECONDS:
                checkpoint.save(state, _states(detector, optimizer, average))
                saved = time.monotonic()
        with average.applied() if average else contextlib.nullcontext():
            better = close_epoch(job, state, steps)
            best = {key: value.clone() for key, value in detector.state_dict().items()} if better else None
        if better or state.finished or time.monotonic() - saved > SAVE_SECONDS:
            states = _states(detector, optimizer, average)
            checkpoint.save(state, {**states, "best": best} if best else states)
            saved = time.monotonic()
        job.observe(state.history[-1])
    bar.close()
    take_best(detector, checkpoint)
    return state.history


def moved(target: Target, device: torch.device) -> Target:
    return Target(boxes=target["boxes"].to(device), labels=target["labels"].to(device))


def _batches(job: DetectionJob, epoch: int, steps: int) -> list[NDArray[np.int64]]:
    """The positions of every step of an epoch, drawn from the seed and the epoch alone; a rest is left out."""
    order = np.random.default_rng([job.seed, epoch]).permutation(len(job.views.boxes))
    size = min(job.config.batch_size, len(order))
    return [np.sort(order[i * size : (i + 1) * size]) for i in range(steps)]


def _step_seed(seed: int, epoch: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0] >> 1)


def _restore(
    checkpoint: Checkpoint, detector: Detector, optimizer: torch.optim.Optimizer, average: Average | None
) -> None:
    if weights := checkpoint.load("model"):
        detector.load_state_dict(weights)
        restore_optimizer(optimizer, checkpoint.load("optimizer") or {})
    if average and (averaged := checkpoint.load("average")):
        average.load(averaged)


def _states(
    detector: Detector, optimizer: torch.optim.Optimizer, average: Average | None
) -> dict[str, dict[str, Tensor]]:
    states = {"model": dict(detector.state_dict()), "optimizer": optimizer_tensors(optimizer)}
    return {**states, "average": average.tensors()} if average else states


def _line(state: Progress) -> str:
    """What the progress bar says."""
    if not state.seen:
        return f"train · epoch {state.epoch}"
    held = [each.val_metric for each in state.history if each.val_metric is not None]
    known = f" · held-out mAP50 {held[-1]:.1%}" if held else ""
    speed = state.seen / max(state.seconds, 1e-9)
    return f"train · epoch {state.epoch} · loss {state.loss_sum / state.seen:.3f}{known} · {speed:.0f} images/s"


def _diverged(
    job: DetectionJob, loss: Tensor, epoch: int, step: int, positions: Sequence[int] | NDArray[np.int64]
) -> TrainingError:
    files = ", ".join(f"`{job.views.pictures.samples.path(int(i))}`" for i in positions[:NAMED])
    more = f" and {len(positions) - NAMED} more" if len(positions) > NAMED else ""
    return TrainingError(
        f"the loss is {loss.item()}, or its gradient not finite, in epoch {epoch}, batch {step} ({files}{more})",
        hint="lower `--learning-rate`",
    )
