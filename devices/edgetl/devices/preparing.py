"""Encoded samples on their way to the graph: what the input layer compares."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from edgetl.types import Feeds

Preprocess = Callable[[Sequence[bytes]], Any]
"""A device's own preparation of encoded samples: of photos the pixels uint8 (photos, height, width, 3), of texts the
`ids` and `mask`.
"""


class Preparing(msgspec.Struct, frozen=True, kw_only=True):
    """Encoded samples, the inputs they must become, and who prepares them: edgetl on this machine (`prepare`), or the
    device's own code (`own`). `reader`: what prepared the expected ones, and `here` what prepares now.
    """

    encoded: Sequence[bytes]
    expected: Feeds
    prepare: Callable[[Sequence[bytes]], Feeds]
    own: Preprocess | None
    reader: str
    here: str
