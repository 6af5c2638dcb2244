"""The end of an epoch: the photos set aside are judged when it is time, the best weights kept, and whether to go on."""

import torch

from edgetl.finetune.detection.job import DetectionJob
from edgetl.finetune.detection.models.detector import Detector
from edgetl.finetune.training.checkpoint import Checkpoint, Epoch, Progress, TrainingError
from edgetl.finetune.training.rates import schedule

JUDGEMENTS = 12
"""The held-out photos are judged about so often in a training: judging takes as long as learning from them."""


def close_epoch(job: DetectionJob, state: Progress, steps: int) -> bool:
    """Judges the held-out photos if it is time, writes the epoch into the history; whether it is the best so far."""
    config = job.config
    due = job.judge is not None and judged(state.epoch, config.epochs)
    metric = job.judge() if job.judge and due else None
    state.history.append(
        Epoch(
            epoch=state.epoch,
            loss=state.loss_sum / state.seen,
            learning_rate=config.learning_rate
            * schedule(state.epoch * steps - 1, steps * config.epochs, config.warmup),
            seconds=round(state.seconds, 3),
            images_per_second=round(state.seen / max(state.seconds, 1e-9), 1),
            val_metric=metric,
        )
    )
    better = metric is not None and metric > state.best_metric
    if better and metric is not None:
        state.best_epoch, state.best_metric = state.epoch, metric
    waited = sum(each.val_metric is not None for each in state.history if each.epoch > state.best_epoch)
    stopped = bool(config.patience) and waited >= config.patience
    state.finished = stopped or state.epoch == config.epochs
    state.epoch, state.step = state.epoch + 1, 0
    state.loss_sum, state.seen, state.seconds = 0.0, 0, 0.0
    return better


def judged(epoch: int, epochs: int) -> bool:
    """Whether the held-out photos are judged after this epoch of so many."""
    return epoch % max(1, epochs // JUDGEMENTS) == 0 or epoch == epochs


def take_best(detector: Detector, checkpoint: Checkpoint) -> None:
    """The weights of the best epoch; where nothing was held out the last ones, or their average."""
    weights, averaged = checkpoint.load("best"), checkpoint.load("average")
    if weights is None and averaged is not None:
        weights = {key: value for key, value in averaged.items() if key != "updates"}
    if weights is not None:
        detector.load_state_dict(weights)
    detector.eval()
    if not all(bool(torch.isfinite(value).all()) for value in detector.state_dict().values()):
        raise TrainingError("the training ended with weights that are not finite", hint="lower `--learning-rate`")
