"""The graph's inputs for many samples, in memory, and how to ask for some of them."""

from collections.abc import Iterator
from typing import Protocol

import msgspec
import numpy as np

from edgetl.types import Array, Feeds


class Takes(Protocol):
    """A task, as far as batches of recorded inputs go."""

    def take(self, feeds: Feeds, rows: Array) -> Feeds: ...


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """`feeds`: the graph's inputs, all with one row a sample; `task` knows how a part of them becomes a batch."""

    feeds: Feeds
    task: Takes

    def __len__(self) -> int:
        return len(next(iter(self.feeds.values())))

    def part(self, start: int, stop: int) -> Feeds:
        """The batch of the samples from `start` up to `stop`."""
        return self.task.take(self.feeds, np.arange(start, min(stop, len(self))))

    def batches(self, size: int) -> Iterator[Feeds]:
        """All samples in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.part(start, start + size)

    def first(self, count: int) -> "Inputs":
        """The first `count` samples only."""
        feeds = {name: array[:count] for name, array in self.feeds.items()}
        return msgspec.structs.replace(self, feeds=feeds)
