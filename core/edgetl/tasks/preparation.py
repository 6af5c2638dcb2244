"""What lies between a sample and the graph: how samples become the graph's inputs, and what is kept of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from edgetl.tasks.images import Sample
from edgetl.types import Feeds

Color = Literal["rgb", "bgr"]

SampleKind = Literal["image", "text"]
"""What a `str` is: the path of an image, or the text itself."""

ReadFile = Callable[[str], Path]
"""Where a file of the run or bundle lies that the task names, such as `tokenizer.json`; verified when it is opened."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """The graph's inputs for some samples; `sizes`: width and height of each photo, empty for text."""

    feeds: Feeds
    sizes: tuple[tuple[int, int], ...] = ()


class Preparation(Protocol):
    """Samples to inputs. `color` is the channel order of array samples. Raises DataError for a bad sample."""

    def __call__(self, samples: Sequence[Sample], *, color: Color = "rgb") -> Prepared: ...


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller wants of an answer: so many labels; only boxes that score `threshold` (0–1) or more."""

    top: int = 5
    threshold: float | None = None
