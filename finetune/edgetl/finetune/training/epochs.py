"""The end of an epoch: the samples set aside are judged, the best weights kept, and whether to go on."""

import numpy as np
import torch

from edgetl.finetune.strategies import Phase
from edgetl.finetune.training.checkpoint import (
    Checkpoint,
    Epoch,
    Progress,
    TrainingError,
)
from edgetl.finetune.training.feeds import ahead
from edgetl.finetune.training.job import Job, Part
from edgetl.finetune.training.rates import schedule

JUDGED_BATCH = 64


def close_epoch(job: Job, part: Part, state: Progress, phase: Phase, steps: int) -> bool:
    """Judges the held-out samples, writes the epoch into the history; whether it is the best so far."""
    metric, loss = job.team.agree(_judge(job, part) if len(job.held) and job.team.rank == 0 else (None, None))
    rate = job.config.learning_rate * schedule(state.epoch * steps - 1, steps * job.config.epochs, job.config.warmup)
    state.history.append(
        Epoch(
            epoch=state.epoch,
            loss=state.loss_sum / state.seen,
            train_top1=state.right / state.seen,
            learning_rate=rate,
            seconds=round(state.seconds, 3),
            images_per_second=round(state.seen / max(state.seconds, 1e-9), 1),
            frozen_stages=phase.boundary,
            val_loss=loss,
            val_metric=metric,
        )
    )
    better = metric is not None and loss is not None and _beats(metric, loss, state)
    if better:
        state.best_epoch, state.best_metric, state.best_loss = state.epoch, metric, loss  # type: ignore[assignment]
    waited = state.epoch - state.best_epoch
    stopped = metric is not None and job.config.patience and waited >= job.config.patience
    state.finished = bool(stopped) or state.epoch == job.config.epochs
    state.epoch, state.step = state.epoch + 1, 0
    state.loss_sum, state.right, state.seen, state.seconds = 0.0, 0, 0, 0.0
    return better


def _beats(metric: float, loss: float, state: Progress) -> bool:
    """A better metric, or the same with a lower loss."""
    return metric > state.best_metric or (metric == state.best_metric and loss < (state.best_loss or np.inf))


def _judge(job: Job, part: Part) -> tuple[float, float]:
    """Metric and loss of the held-out samples, in evaluation mode."""
    job.model.eval()
    part.module.eval()
    positions = np.arange(len(job.held))
    batches = [positions[i : i + JUDGED_BATCH] for i in range(0, len(positions), JUDGED_BATCH)]
    logits = []
    with torch.inference_mode(), torch.autocast(job.team.device.type, torch.bfloat16, enabled=job.bf16):
        for _, inputs in ahead(part.judged, batches, 0):
            logits.append(part.module(part.judged.tensor(inputs)).float().cpu().numpy())
    return job.score(np.concatenate(logits), job.held)


def take_best(job: Job, checkpoint: Checkpoint) -> None:
    """The weights of the best epoch; where nothing was held out the last ones, or their average."""
    weights = checkpoint.load("best")
    averaged = checkpoint.load("average")
    if weights is None and averaged is not None:
        weights = {key: value for key, value in averaged.items() if key != "updates"}
    if weights is not None:
        job.model.load_state_dict(weights)
    job.model.eval()
    if not all(bool(torch.isfinite(value).all()) for value in job.model.state_dict().values()):
        raise TrainingError("the training ended with weights that are not finite", hint="lower `--learning-rate`")
