"""The processes that train together: alone, or under `torchrun`, through Accelerate."""

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from edgetl.errors import ConfigError
from edgetl.plugins import require

T = TypeVar("T")

PATIENCE = timedelta(hours=12)
"""So long one process waits for another that fills a cache."""


class Team(Protocol):
    """`rank` of `size` processes, each on its `device`. The gradients of all are averaged in `backward`."""

    rank: int
    size: int
    device: torch.device

    def wrap(self, part: nn.Module) -> nn.Module: ...
    def backward(self, loss: Tensor) -> None: ...
    def first(self, work: Callable[[], T]) -> T: ...
    def agree(self, value: T) -> T: ...


class Alone:
    """One process, on the GPU if there is one."""

    rank, size = 0, 1

    def __init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def wrap(self, part: nn.Module) -> nn.Module:
        return part

    def backward(self, loss: Tensor) -> None:
        torch.autograd.backward(loss)

    def first(self, work: Callable[[], T]) -> T:
        return work()

    def agree(self, value: T) -> T:
        return value


class Accelerated:
    """One of several processes that `torchrun` started: distributed data parallel through Accelerate."""

    def __init__(self) -> None:
        require("distributed", "accelerate")
        from accelerate import Accelerator, InitProcessGroupKwargs

        cpu = not torch.cuda.is_available()
        self._accelerator: Any = Accelerator(cpu=cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)])
        self.rank, self.size = self._accelerator.process_index, self._accelerator.num_processes
        self.device = self._accelerator.device

    def wrap(self, part: nn.Module) -> nn.Module:
        wrapped: nn.Module = self._accelerator.prepare_model(part)
        return wrapped

    def backward(self, loss: Tensor) -> None:
        self._accelerator.backward(loss)

    def first(self, work: Callable[[], T]) -> T:
        """The first process of each machine does the work and fills the cache; then the others find it there."""
        with self._accelerator.local_main_process_first():
            return work()

    def agree(self, value: T) -> T:
        """The value that the first process has."""
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]  # type: ignore[no-any-return]


def launched() -> bool:
    """Whether `torchrun` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextlib.contextmanager
def team_of_processes() -> Iterator[Team]:
    """This process's team; a group of several is left at the end."""
    if not launched():
        yield Alone()
        return
    team = Accelerated()
    try:
        yield team
    finally:
        torch.distributed.destroy_process_group()


def check_batch_size(batch_size: int, team: Team) -> None:
    """Every process takes an equal part of each batch. Raises ConfigError."""
    if batch_size % team.size:
        raise ConfigError(
            f"a batch of {batch_size} cannot be shared by {team.size} processes",
            hint=f"`--batch-size` must be a multiple of {team.size}",
        )
