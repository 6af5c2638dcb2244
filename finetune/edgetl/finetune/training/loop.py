"""The training loop: phases, epochs, steps; what it has learned is whole on disk after every epoch."""

import contextlib
import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetl.finetune.backbones.registry import head_of
from edgetl.finetune.data.imbalance import balanced_order
from edgetl.finetune.training.average import Average
from edgetl.finetune.training.checkpoint import (
    Checkpoint,
    Epoch,
    Progress,
    TrainingError,
    optimizer_tensors,
    restore_optimizer,
)
from edgetl.finetune.training.epochs import close_epoch, take_best
from edgetl.finetune.training.feeds import PixelFeed, ahead
from edgetl.finetune.training.job import Job
from edgetl.finetune.training.rates import parameter_groups, set_rates
from edgetl.finetune.training.regularisation import criterion, mixing
from edgetl.types import Track

SAVE_SECONDS = 300.0
"""Within an epoch the state is saved this often; a kill costs at most so much."""

NAMED = 4
"""So many files of a batch are named when its loss is not finite."""


def train(job: Job, checkpoint: Checkpoint, track: Track) -> list[Epoch]:
    """Trains `job.model` in place and leaves the weights of the best epoch in it, or the last where none is judged.

    Every random draw follows from the seed, the epoch and the step alone, so a resumed run repeats an uninterrupted
    one to the bit (on a CPU in FP32). Raises TrainingError when the loss or a weight is not finite.
    """
    config, team, state = job.config, job.team, checkpoint.progress
    model: nn.Module = job.model.to(team.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(parameter_groups(model, job.stages, config), lr=config.learning_rate, fused=True)
    average = Average(model, config.ema) if config.ema else None
    _restore(checkpoint, model, optimizer, average)
    steps = steps_of(job)
    loss_of = criterion(config, job.class_weights).to(team.device)
    bar = track(range(steps * config.epochs), lambda: _line(state, job.samples), steps * config.epochs)
    for _ in range((state.epoch - 1) * steps + state.step):
        next(bar)
    saved = time.monotonic()
    for phase in job.phases:
        if state.finished or phase.last < state.epoch:
            continue
        clock = time.perf_counter()
        part = job.enter(phase)
        mix = mixing(config, head_of(model).out_features, pixels=isinstance(part.feed, PixelFeed))
        _set_learning(job, phase.boundary)
        learning = team.wrap(_compiled(part.module) if config.compile else part.module)
        for epoch in range(max(phase.first, state.epoch), phase.last + 1):
            _set_learning(job, phase.boundary)
            for positions, inputs in ahead(part.feed, _batches(job, epoch, steps)[state.step :], epoch):
                torch.manual_seed(_step_seed(job, epoch, state.step))
                set_rates(optimizer, config, (epoch - 1) * steps + state.step, steps * config.epochs)
                targets = torch.from_numpy(job.truths[positions]).to(team.device)
                batch, mixed = mix(part.feed.tensor(inputs), targets)
                with torch.autocast(team.device.type, torch.bfloat16, enabled=job.bf16):
                    logits = learning(batch)
                loss = loss_of(logits.float(), mixed)
                if not torch.isfinite(loss):
                    raise _diverged(job, "loss", loss, epoch, state.step, positions)
                optimizer.zero_grad(set_to_none=True)
                team.backward(loss)
                norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm or torch.inf)
                if not torch.isfinite(norm):
                    raise _diverged(job, "gradient", norm, epoch, state.step, positions)
                optimizer.step()
                if average:
                    average.update()
                clock = _count(state, loss.item(), logits, targets, clock)
                next(bar, None)
                if time.monotonic() - saved > SAVE_SECONDS and team.rank == 0:
                    checkpoint.save(state, _states(model, optimizer, average))
                    saved = time.monotonic()
            with average.applied() if average else contextlib.nullcontext():
                better = close_epoch(job, part, state, phase, steps)
                best = {key: value.clone() for key, value in model.state_dict().items()} if better else None
            if team.rank == 0:
                states = _states(model, optimizer, average)
                checkpoint.save(state, {**states, "best": best} if best else states)
                job.observe(state.history[-1])
            saved, clock = time.monotonic(), time.perf_counter()
            if state.finished:
                break
    bar.close()
    if team.rank == 0:
        take_best(job, checkpoint)
    return state.history


def _compiled(module: nn.Module) -> nn.Module:
    compiled: nn.Module = torch.compile(module)  # type: ignore[assignment]
    return compiled


def steps_of(job: Job) -> int:
    """Steps of an epoch; an incomplete last batch is left out unless it is the only one."""
    return max(1, len(job.truths) // job.config.batch_size)


def _restore(
    checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer, average: Average | None
) -> None:
    if weights := checkpoint.load("model"):
        model.load_state_dict(weights)
        restore_optimizer(optimizer, checkpoint.load("optimizer") or {})
    if average and (averaged := checkpoint.load("average")):
        average.load(averaged)


def _states(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: Average | None
) -> dict[str, dict[str, Tensor]]:
    states = {"model": dict(model.state_dict()), "optimizer": optimizer_tensors(optimizer)}
    return {**states, "average": average.tensors()} if average else states


def _set_learning(job: Job, boundary: int) -> None:
    """Frozen stages neither learn nor update their statistics; with `batch_norm = "frozen"` no stage's norms do."""
    job.model.train()
    named = dict(job.model.named_parameters())
    for depth, stage in enumerate(job.stages):
        for name in stage.parameters:
            named[name].requires_grad_(depth >= boundary)
        for name in stage.modules if depth < boundary else ():
            job.model.get_submodule(name).eval()
    if job.config.batch_norm == "frozen":
        for module in job.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def _batches(job: Job, epoch: int, steps: int) -> list[NDArray[np.int64]]:
    """This process's positions of every step of an epoch, drawn from the seed and the epoch alone."""
    rng = np.random.default_rng([job.seed, epoch])
    order = balanced_order(job.truths, rng) if job.sampling else rng.permutation(len(job.truths))
    order = job.arrange(order, rng)
    size = min(job.config.batch_size, len(order))
    return [np.sort(order[i * size : (i + 1) * size])[job.team.rank :: job.team.size] for i in range(steps)]


def _step_seed(job: Job, epoch: int, step: int) -> int:
    """For dropout, stochastic depth and mixing."""
    return int(np.random.SeedSequence([job.seed, epoch, step, job.team.rank]).generate_state(1, np.uint64)[0] >> 1)


def _count(state: Progress, loss: float, logits: Tensor, targets: Tensor, clock: float) -> float:
    """Adds a step to the sums; the seconds since `clock` are its. Returns the time now."""
    now = time.perf_counter()
    state.step += 1
    state.loss_sum += loss * len(targets)
    state.right += int((logits.argmax(1) == targets).sum())
    state.seen += len(targets)
    state.seconds += now - clock
    return now


def _line(state: Progress, samples: str) -> str:
    """What the progress bar says."""
    if not state.seen:
        return f"train · epoch {state.epoch}"
    speed = state.seen / max(state.seconds, 1e-9)
    held = f" · held-out {state.history[-1].val_metric:.1%}" if state.history and state.history[-1].val_metric else ""
    return (
        f"train · epoch {state.epoch} · loss {state.loss_sum / state.seen:.3f} · "
        f"top-1 {state.right / state.seen:.1%}{held} · {speed:.0f} {samples}/s"
    )


def _diverged(job: Job, what: str, value: Tensor, epoch: int, step: int, positions: NDArray[np.int64]) -> TrainingError:
    files = ", ".join(f"`{job.path(int(i))}`" for i in positions[:NAMED])
    more = f" and {len(positions) - NAMED} more" if len(positions) > NAMED else ""
    return TrainingError(
        f"the {what} is {value.item()} in epoch {epoch}, batch {step} ({files}{more})", hint="lower `--learning-rate`"
    )
