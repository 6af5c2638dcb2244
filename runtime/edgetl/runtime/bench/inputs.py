"""What queries are made of: the golden set, a folder of images or a file of texts; another one for each query."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from edgetl.bundle import Bundle
from edgetl.errors import ConfigError, DataError
from edgetl.runtime.bench.options import Timed
from edgetl.runtime.session import Session, sample_feeds
from edgetl.tasks.images import Sample, decode
from edgetl.tasks.preparation import SampleKind
from edgetl.types import Feeds, Pixels

T = TypeVar("T")

INPUTS = 64
"""So many different samples take turns, so that no cache holds the one input."""

MAX_BYTES = 512 * 2**20
"""Encoded or decoded inputs that take more memory are refused."""

Ask = Callable[[int], object]
"""Runs the query of that number; the answer does not matter."""


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """Samples as the engine takes them, and the encoded images or texts, if there are any."""

    feeds: Feeds
    encoded: tuple[bytes, ...]
    source: str


def single_queries(bundle: Bundle) -> list[Feeds]:
    """`INPUTS` queries of one sample each, a text no longer than itself."""
    feeds, take = sample_feeds(bundle, INPUTS), bundle.manifest.task.take
    return [take(feeds, np.array([i])) for i in range(INPUTS)]


def read_inputs(bundle: Bundle, given: Path | None = None) -> Inputs:
    """Of the folder of images or file of texts `given`, else of the golden set, else seeded noise.

    Raises DataError where there is nothing to read.
    """
    if given is not None:
        return _of_user(bundle, given)
    golden, what = bundle.manifest.golden, KINDS[bundle.manifest.task.takes].plural
    feeds = sample_feeds(bundle, INPUTS)
    if golden.kind == "none":
        return Inputs(feeds=feeds, encoded=(), source="noise, as the bundle carries no golden set")
    encoded = tuple(bundle.file(name).read_bytes() for name in golden.encoded[:INPUTS])
    different = min(INPUTS, golden.samples)
    source = f"golden set ({golden.kind}): {different} samples, {len(encoded)} encoded {what}"
    return Inputs(feeds=feeds, encoded=encoded, source=source)


def _of_user(bundle: Bundle, given: Path) -> Inputs:
    """Samples spread evenly over all that there are."""
    task = bundle.manifest.task
    there = task.unlabelled(given)
    chosen = _spread(there)
    if (size := sum(each.stat().st_size for each in chosen if isinstance(each, Path))) > MAX_BYTES:
        raise DataError(f"{len(chosen)} images of `{given}` take {size} bytes", hint=f"at most {MAX_BYTES} are read")
    encoded = tuple(each.read_bytes() if isinstance(each, Path) else each.encode() for each in chosen)
    feeds = bundle.preparation(chosen).feeds
    source = f"`{given}`: {len(encoded)} of {len(there)} {KINDS[task.takes].plural}"
    return Inputs(feeds=feeds, encoded=encoded, source=source)


def _spread(items: Sequence[T]) -> list[T]:
    """At most `INPUTS` of them, evenly from the first to the last."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, INPUTS).astype(int))]


def queries(session: Session, inputs: Inputs, timed: Timed, size: int) -> Ask:
    """A call that runs one query of `size` samples, with everything that is `timed`. Raises ConfigError, DataError."""
    count = max(2, math.ceil(INPUTS / size))
    numbers = [range(i * size, (i + 1) * size) for i in range(count)]
    if timed == "engine":
        there = len(next(iter(inputs.feeds.values())))
        feeds = [session.task.take(inputs.feeds, np.array(each) % there) for each in numbers]
        return lambda number: session.infer(feeds[number % count])
    if not inputs.encoded:
        what = KINDS[session.task.takes].plural
        raise ConfigError(f"`--timed {timed}` needs {what}, the bundle carries none", hint="name some with `--inputs`")
    decoded = KINDS[session.task.takes].decoded
    samples: Sequence[Sample] = inputs.encoded if timed == "bytes" else decoded(inputs.encoded)
    asked = [[samples[i % len(samples)] for i in each] for each in numbers]
    return lambda number: session.answers(asked[number % count])


def _decoded(encoded: Sequence[bytes]) -> list[Pixels]:
    """RGB uint8 arrays (height, width, 3), each as large as its image."""
    arrays: list[Pixels] = []
    for content in encoded:
        arrays.append(np.asarray(decode(content)))
        if sum(array.nbytes for array in arrays) > MAX_BYTES:
            raise DataError(f"{len(arrays)} decoded images take more than {MAX_BYTES} bytes", hint="use smaller ones")
    return arrays


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What samples of a kind are called, and what encoded ones are once decoded."""

    plural: str
    decoded: Callable[[Sequence[bytes]], Sequence[Sample]]


KINDS: dict[SampleKind, Kind] = {
    "image": Kind(plural="images", decoded=_decoded),
    "text": Kind(plural="texts", decoded=lambda encoded: [each.decode() for each in encoded]),
}
