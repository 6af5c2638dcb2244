"""Generated samples of each kind of task: probes that test how samples are read, and stand-ins for real ones."""

from collections.abc import Callable
from typing import Any

import msgspec

from edgetl.export.samples import photos, sentences
from edgetl.tasks import ImageClassification, ObjectDetection, Task, TextClassification
from edgetl.tasks.preparation import Preparation


class Generated(msgspec.Struct, frozen=True, kw_only=True):
    """`probes(task, preparation)`: path in the bundle and content of each; `stand_ins(task, preparation, count, seed)`:
    encoded samples with the file `suffix`.
    """

    probes: Callable[[Any, Preparation], list[tuple[str, bytes]]]
    stand_ins: Callable[[Any, Preparation, int, int], list[bytes]]
    suffix: str


PHOTOS = Generated(probes=photos.probes, stand_ins=photos.noise, suffix=".png")

GENERATED: dict[type, Generated] = {
    ImageClassification: PHOTOS,
    ObjectDetection: PHOTOS,
    TextClassification: Generated(probes=sentences.probes, stand_ins=sentences.salad, suffix=".txt"),
}


def generated(task: Task) -> Generated:
    """The generators of this task's samples."""
    return GENERATED[type(task)]
