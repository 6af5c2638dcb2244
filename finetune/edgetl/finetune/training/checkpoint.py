"""A training's state on disk, whole after every save, so that a killed run goes on where it was."""

import errno
import fcntl
import os
import weakref
from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from edgetl.errors import ArtefactError, ConfigError
from edgetl.files import read_json, sha256_of, write_json
from edgetl.finetune.training.config import Value

AGAIN = "`--overwrite` starts again"


class TrainingError(ConfigError):
    """A training that cannot go on as it was asked for: there is nothing to resume."""


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One line of metrics.jsonl. `loss` and `train_top1` are over the augmented training batches, the
    latter None for what has no single right answer.

    `val_loss` and `val_metric` are on the samples set aside for choices, None when there are none.
    """

    epoch: int
    loss: float
    train_top1: float | None = None
    learning_rate: float
    seconds: float
    images_per_second: float = 0.0
    frozen_stages: int = 0
    val_loss: float | None = None
    val_metric: float | None = None


class Progress(msgspec.Struct, kw_only=True):
    """How far a training is: the next epoch (from 1) and step (from 0), running sums of this epoch, the best so far."""

    epoch: int = 1
    step: int = 0
    loss_sum: float = 0.0
    right: int = 0
    seen: int = 0
    seconds: float = 0.0
    history: list[Epoch] = []
    best_epoch: int = 0
    best_metric: float = -1.0
    best_loss: float | None = None
    finished: bool = False


class _File(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    sha256: str


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """`checkpoint.json`: what the training is of, how far it is, and the file of each state."""

    identity: dict[str, Value]
    decisions: dict[str, Value]
    progress: Progress
    files: dict[str, _File]


class Checkpoint:
    """A folder of one training, locked while it is open.

    Of several processes that train together one is the `owner`, which saves. `identity` says what the training is of,
    `decisions` what was measured or chosen at its start and must stay.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Value], *, resume: bool, owner: bool = True) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            hint = "choose another `-o`"
            raise ConfigError(f"`{folder}` cannot be written: {error.strerror}", hint=hint) from error
        self.folder, self.identity = folder, dict(identity)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        self.close = weakref.finalize(self, os.close, lock)
        if owner:
            _lock(lock, folder)
        self._files: dict[str, _File] = {}
        self.progress = Progress()
        self.decisions: dict[str, Value] = {}
        if resume:
            self._resume()

    def save(self, progress: Progress, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Replaces the named `states` and the progress; a reader sees either all of them or those before."""
        old = {file.name for file in self._files.values()}
        for name, state in states.items():
            path = self.folder / f"{name}-{progress.epoch}-{progress.step}.safetensors"
            save_file({key: value.detach().contiguous().clone() for key, value in state.items()}, path)
            self._files[name] = _File(name=path.name, sha256=sha256_of(path))
        write_json(
            self.folder / "checkpoint.json",
            _Record(identity=self.identity, decisions=self.decisions, progress=progress, files=self._files),
        )
        for left in old - {file.name for file in self._files.values()}:
            (self.folder / left).unlink(missing_ok=True)

    def load(self, name: str) -> dict[str, Tensor] | None:
        """The state saved under `name`, or None. Raises ArtefactError when it is damaged."""
        if name not in self._files:
            return None
        file = self._files[name]
        path = self.folder / file.name
        if not path.is_file() or sha256_of(path) != file.sha256:
            raise ArtefactError(f"the checkpoint `{path}` is damaged", hint=AGAIN)
        return dict(load_file(path))

    def _resume(self) -> None:
        path = self.folder / "checkpoint.json"
        if not path.is_file():
            return
        record = read_json(path, _Record)
        if differing := [key for key in self.identity if record.identity.get(key) != self.identity[key]]:
            before, now = record.identity.get(differing[0]), self.identity[differing[0]]
            raise ConfigError(
                f"the unfinished run has `{differing[0]}` = `{before}`, now it is `{now}`",
                hint=f"resume with the same options; {AGAIN}",
            )
        self.progress, self.decisions, self._files = record.progress, record.decisions, record.files


def _lock(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigError(
            f"another process trains in `{folder}`", hint="wait for it, or choose another `-o`"
        ) from error


def exists(folder: Path) -> bool:
    """Whether an unfinished training lies in `folder`."""
    return (folder / "checkpoint.json").is_file()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors: `PARAMETER.NAME`."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{key}": torch.as_tensor(value) for number, own in state.items() for key, value in own.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Moments get the memory layout of their parameters, which a file does not keep and the fused optimiser needs."""
    whole = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, key = name.split(".", 1)
        like = parameters[int(number)]
        same = value.shape == like.shape
        state.setdefault(int(number), {})[key] = torch.empty_like(like).copy_(value) if same else value
    optimizer.load_state_dict({**whole, "state": state})
