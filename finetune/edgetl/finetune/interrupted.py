"""A training that did not end: where its state lies, who may go on with it, and what is left when it failed."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from edgetl.errors import ConfigError, EdgetlError
from edgetl.finetune.training.checkpoint import TrainingError, exists
from edgetl.finetune.training.config import LoopConfig


def unfinished_folder(out: Path) -> Path:
    """Where the state of a training for the run `out` lies until it is done."""
    target = out.resolve()
    return target.with_name(f".{target.name[:100]}.unfinished")


def unfinished(out: Path, *, overwrite: bool, resume: bool) -> Path:
    """The folder beside `out` that holds an unfinished training. Raises ConfigError when nobody said what to do."""
    folder = unfinished_folder(out)
    if exists(folder / "main") and not resume:
        if not overwrite:
            hint = "`--resume` goes on with it, `--overwrite` starts again"
            raise ConfigError(f"an unfinished run of `{out}` exists", hint=hint)
        shutil.rmtree(folder)
    return folder


@contextlib.contextmanager
def kept_to_resume(folder: Path) -> Iterator[None]:
    """What is left of a training that failed stays when `--resume` can go on with it."""
    try:
        yield
    except TrainingError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except BaseException:
        if not exists(folder / "main"):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def out_of_memory(error: Exception, loop: LoopConfig, samples: str = "images") -> Exception:
    """The error itself unless it says that memory ran out."""
    text = str(error)
    short = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text
    if isinstance(error, EdgetlError) or not short:
        return error
    return TrainingError(
        f"memory ran out with batches of {loop.batch_size} {samples}", hint="lower `--batch-size`, or `--size`"
    )
