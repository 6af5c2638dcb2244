"""The epochs as TensorBoard event files, for those who watch with it."""

from collections.abc import Callable
from pathlib import Path

from edgetl.finetune.training.checkpoint import Epoch
from edgetl.plugins import require


def tensorboard(folder: Path, then: Callable[[Epoch], None]) -> Callable[[Epoch], None]:
    """An observer that writes every number of an epoch below `folder` and tells `then`.

    Raises DependencyError when TensorBoard is not installed.
    """
    require("tensorboard", "tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    def observe(epoch: Epoch) -> None:
        with SummaryWriter(str(folder)) as writer:  # opened anew, so that a kill loses nothing
            for name in ("loss", "train_top1", "learning_rate", "images_per_second", "val_loss", "val_metric"):
                if (value := getattr(epoch, name)) is not None:
                    writer.add_scalar(name, value, epoch.epoch)
        then(epoch)

    return observe
