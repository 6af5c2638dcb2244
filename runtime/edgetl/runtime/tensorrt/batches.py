"""A caller's arrays as an engine with a bounded batch takes them: checked, cut into pieces, joined again."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from edgetl.errors import EngineError
from edgetl.types import Feeds, Outputs, TensorSpec


def checked(feeds: Feeds, inputs: Sequence[TensorSpec]) -> int:
    """The batch size of `feeds`. Raises EngineError unless names, types and shapes are the engine's own.

    The engine reads raw memory, so nothing else stands between a wrong shape and someone else's bytes.
    """
    sizes = set()
    for spec in inputs:
        if spec.name not in feeds:
            raise EngineError("tensorrt", f"the input `{spec.name}` is missing", hint="feed every input of the model")
        value = feeds[spec.name]
        if value.dtype != np.dtype(spec.dtype) or value.ndim != len(spec.shape) or value.shape[1:] != spec.shape[1:]:
            raise EngineError(
                "tensorrt",
                f"the input `{spec.name}` is {value.dtype} {value.shape}, not {spec.dtype} {spec.shape}",
                hint="do the feeds match the model's inputs?",
            )
        sizes.add(len(value))
    if len(sizes) != 1 or 0 in sizes:
        raise EngineError("tensorrt", f"the batch sizes of the inputs are {sorted(sizes)}", hint="feed one or more")
    return sizes.pop()


def pieces(count: int, smallest: int, largest: int) -> list[slice]:
    """Slices of `count` samples of at most `largest` each, all but equal; none below `smallest`.

    Raises EngineError when `count` cannot be cut so.
    """
    parts = -(-count // largest)
    edges = [count * i // parts for i in range(parts + 1)]
    slices = [slice(start, stop) for start, stop in pairwise(edges)]
    if min(stop - start for start, stop in pairwise(edges)) < smallest:
        raise EngineError(
            "tensorrt",
            f"a batch of {count} does not fit the engine's profile of {smallest} to {largest}",
            hint="the profile stands in `build.json`",
        )
    return slices


def in_pieces(feeds: Feeds, slices: Sequence[slice], run: Callable[[Feeds], Outputs]) -> Outputs:
    """The outputs of all pieces as one batch."""
    parts = [run({name: value[piece] for name, value in feeds.items()}) for piece in slices]
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
