"""Decodes many image files on all cores, a few ahead of the reader, in order."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from edgetl.errors import DataError
from edgetl.tasks.images import ImageInput, prepare
from edgetl.types import Pixels

AHEAD = 32
"""So many decoded images wait at most, whatever the size of the data set."""


def prepare_files(paths: Iterable[Path], spec: ImageInput) -> Iterator[Pixels | DataError]:
    """The prepared pixels of each file, or the DataError that says why it has none.

    Threads, because Pillow decodes without holding the interpreter lock.
    """
    waiting: deque[Future[Pixels | DataError]] = deque()
    remaining = iter(paths)
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        try:
            waiting.extend(pool.submit(_prepare_file, path, spec) for path in islice(remaining, AHEAD))
            while waiting:
                pixels = waiting.popleft().result()
                waiting.extend(pool.submit(_prepare_file, path, spec) for path in islice(remaining, 1))
                yield pixels
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare_file(path: Path, spec: ImageInput) -> Pixels | DataError:
    try:
        return prepare(path, spec)
    except DataError as error:
        return error
