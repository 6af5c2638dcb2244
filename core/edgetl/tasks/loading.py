"""Works through many image files on all cores, a few ahead of the reader, in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

from edgetl.errors import DataError
from edgetl.tasks.images import ImageInput, Sample, prepare
from edgetl.tasks.preparation import Preparation, Prepared
from edgetl.types import Pixels

A = TypeVar("A")
B = TypeVar("B")

AHEAD = 32
"""So many results wait at most, whatever the size of the data set."""


def prepare_files(paths: Iterable[Path], spec: ImageInput) -> Iterator[Pixels | DataError]:
    """The prepared pixels of each file, or the DataError that says why it has none."""
    return in_order(lambda path: _prepare_file(path, spec), paths)


def prepare_samples(samples: Iterable[Sample], prepare: Preparation) -> Iterator[Prepared | DataError]:
    """The inputs of each sample alone, or the DataError that says why it has none."""

    def one(sample: Sample) -> Prepared | DataError:
        try:
            return prepare([sample])
        except DataError as error:
            return error

    return in_order(one, samples)


def in_order(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """`work` of each item, in order, a few ahead of the reader; memory does not grow with the number of items.

    Threads, because Pillow decodes and hashlib hashes without holding the interpreter lock.
    """
    waiting: deque[Future[B]] = deque()
    remaining = iter(items)
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        try:
            waiting.extend(pool.submit(work, item) for item in islice(remaining, AHEAD))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(remaining, 1))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare_file(path: Path, spec: ImageInput) -> Pixels | DataError:
    try:
        return prepare(path, spec)
    except DataError as error:
        return error
