"""A caller's arrays as an engine with bounded axes takes them: checked, cut into pieces, joined again."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from edgetl.errors import EngineError
from edgetl.runtime.tensorrt.recipe import BuildRecipe, LengthProfile
from edgetl.types import Feeds, Outputs, TensorSpec

LENGTH = "length"
"""What the dynamic axis of a text is called."""


def checked(feeds: Feeds, inputs: Sequence[TensorSpec]) -> int:
    """The batch size of `feeds`. Raises EngineError unless names, types and shapes are the engine's own.

    The engine reads raw memory, so nothing else stands between a wrong shape and someone else's bytes.
    """
    sizes: set[int] = set()
    lengths: set[int] = set()
    for spec in inputs:
        if spec.name not in feeds:
            raise EngineError("tensorrt", f"the input `{spec.name}` is missing", hint="feed every input of the model")
        value = feeds[spec.name]
        if value.dtype != np.dtype(spec.dtype) or not _fits(value.shape, spec.shape):
            raise EngineError(
                "tensorrt",
                f"the input `{spec.name}` is {value.dtype} {value.shape}, not {spec.dtype} {spec.shape}",
                hint="do the feeds match the model's inputs?",
            )
        sizes.add(len(value))
        lengths.update(have for have, wanted in zip(value.shape[1:], spec.shape[1:], strict=True) if wanted == LENGTH)
    if len(sizes) != 1 or 0 in sizes:
        raise EngineError("tensorrt", f"the batch sizes of the inputs are {sorted(sizes)}", hint="feed one or more")
    if len(lengths) > 1 or 0 in lengths:
        raise EngineError("tensorrt", f"the lengths of the inputs are {sorted(lengths)}", hint="feed one length")
    return sizes.pop()


def _fits(shape: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    """Whether a shape is the wanted one; an axis with a name has any size."""
    return len(shape) == len(wanted) and all(
        isinstance(want, str) or have == want for have, want in zip(shape, wanted, strict=True)
    )


def largest_shape(shape: Sequence[int | str], recipe: BuildRecipe) -> tuple[int, ...]:
    """What a tensor with these axes takes at most: the batch first, a dynamic length elsewhere."""
    return (recipe.batch.max, *(axis if isinstance(axis, int) else _lengths(recipe).max for axis in shape[1:]))


def profile_shapes(axes: Sequence[int], recipe: BuildRecipe) -> list[tuple[int, ...]]:
    """The smallest, usual and largest shape of an input; of its `axes` the dynamic ones are −1.

    The first axis is the batch, another dynamic one the length. Raises EngineError when the recipe says no length.
    """
    batch, length = recipe.batch, _lengths(recipe) if min(axes[1:], default=0) < 0 else LengthProfile(opt=1, max=1)
    return [
        (size, *(long if axis < 0 else axis for axis in axes[1:]))
        for size, long in ((batch.min, length.min), (batch.opt, length.opt), (batch.max, length.max))
    ]


def _lengths(recipe: BuildRecipe) -> LengthProfile:
    if recipe.length is None:
        raise EngineError("tensorrt", "a tensor has a length, and `build.json` says none", hint="export it again")
    return recipe.length


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
