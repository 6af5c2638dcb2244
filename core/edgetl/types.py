"""The few types that cross the seams between the areas."""

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Literal, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

Array = NDArray[Any]
Pixels = NDArray[np.uint8]
Feeds = Mapping[str, Array]
Outputs = dict[str, Array]

Precision = Literal["fp32", "fp16", "bf16", "int8", "w8"]
"""What the compute layers run in; `w8`: weights stored as int8, computed with in fp32."""

Verdict = Literal["pass", "fail", "undecided", "skipped"]
Option = str | int | float | bool
Options = Mapping[str, Option]


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Name, element type and shape of a graph's input or output; a string is a dynamic axis."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class EngineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine says it really runs. `asked` is the provider that was asked for.

    `layers` counts the compute layers (convolutions, matrix products) by executed precision.
    """

    engine: str
    version: str
    provider: str
    asked: str = ""
    precision: str
    threads: int
    layers: dict[str, int] = {}


class Track(Protocol):
    """Wraps an iterable so that someone watching sees how far it is; a function as description is asked again."""

    def __call__(
        self, items: Iterable[T], description: str | Callable[[], str], total: int | None = None
    ) -> Generator[T, None, None]: ...


def silent(
    items: Iterable[T], description: str | Callable[[], str], total: int | None = None
) -> Generator[T, None, None]:
    """The `Track` for library use: nobody is watching."""
    yield from items
