"""What queries are made of: the golden set, or a folder of images; another one for each query."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgetl.bundle import Bundle
from edgetl.errors import ConfigError, DataError
from edgetl.runtime.bench.options import Timed
from edgetl.runtime.session import Session, sample_feeds
from edgetl.tasks.images import decode
from edgetl.tasks.labelled import read_unlabelled
from edgetl.types import Array, Feeds, Pixels

INPUTS = 64
"""So many different samples take turns, so that no cache holds the one input."""

MAX_BYTES = 512 * 2**20
"""Encoded or decoded inputs that take more memory are refused."""

Ask = Callable[[int], object]
"""Runs the query of that number; the answer does not matter."""


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """Samples as the engine takes them, uint8 (samples, height, width, 3), and the encoded images, if there are any."""

    pixels: Array
    encoded: tuple[bytes, ...]
    source: str


def single_queries(bundle: Bundle) -> list[Feeds]:
    """`INPUTS` queries of one sample each."""
    feeds = sample_feeds(bundle, INPUTS)
    return [{name: array[i : i + 1] for name, array in feeds.items()} for i in range(INPUTS)]


def read_inputs(bundle: Bundle, folder: Path | None = None) -> Inputs:
    """Of `folder`, else of the golden set, else seeded noise. Raises DataError for a folder without readable images."""
    if folder is not None:
        return _of_folder(bundle, folder)
    golden = bundle.manifest.golden
    pixels = sample_feeds(bundle, INPUTS)[bundle.manifest.inputs[0].name]
    if golden.kind == "none":
        return Inputs(pixels=pixels, encoded=(), source="noise, as the bundle carries no golden set")
    encoded = tuple(bundle.file(name).read_bytes() for name in golden.encoded[:INPUTS])
    different = min(INPUTS, golden.samples)
    source = f"golden set ({golden.kind}): {different} samples, {len(encoded)} encoded images"
    return Inputs(pixels=pixels, encoded=encoded, source=source)


def _of_folder(bundle: Bundle, folder: Path) -> Inputs:
    """Images spread evenly over all that the folder holds."""
    paths = read_unlabelled(folder)
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, INPUTS).astype(int))]
    if (size := sum(path.stat().st_size for path in chosen)) > MAX_BYTES:
        raise DataError(f"{len(chosen)} images of `{folder}` take {size} bytes", hint=f"at most {MAX_BYTES} are read")
    task = bundle.manifest.task
    pixels = task.preprocess(chosen)[bundle.manifest.inputs[0].name]
    encoded = tuple(path.read_bytes() for path in chosen)
    return Inputs(pixels=pixels, encoded=encoded, source=f"`{folder}`: {len(chosen)} of {len(paths)} images")


def queries(session: Session, inputs: Inputs, timed: Timed, size: int) -> Ask:
    """A call that runs one query of `size` samples, with everything that is `timed`. Raises ConfigError, DataError."""
    count = max(2, math.ceil(INPUTS / size))
    numbers = [range(i * size, (i + 1) * size) for i in range(count)]
    if timed == "engine":
        name, pixels = session.bundle.manifest.inputs[0].name, inputs.pixels
        feeds: list[Feeds] = [{name: pixels[np.array(each) % len(pixels)]} for each in numbers]
        return lambda number: session.infer(feeds[number % count])
    if not inputs.encoded:
        raise ConfigError(f"`--timed {timed}` needs images, the bundle carries none", hint="name some with `--inputs`")
    samples: Sequence[bytes | Pixels] = inputs.encoded if timed == "bytes" else _decoded(inputs.encoded)
    asked = [[samples[i % len(samples)] for i in each] for each in numbers]
    return lambda number: session.predict(asked[number % count])


def _decoded(encoded: Sequence[bytes]) -> list[Pixels]:
    """RGB uint8 arrays (height, width, 3), each as large as its image."""
    arrays: list[Pixels] = []
    for content in encoded:
        arrays.append(np.asarray(decode(content)))
        if sum(array.nbytes for array in arrays) > MAX_BYTES:
            raise DataError(f"{len(arrays)} decoded images take more than {MAX_BYTES} bytes", hint="use smaller ones")
    return arrays
