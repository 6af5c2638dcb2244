"""Which faults are planted in a bundle, by its task's type."""

from collections.abc import Callable
from typing import Any

from edgetl.export.planted.boxes import box_faults
from edgetl.export.planted.fault import Fault
from edgetl.export.planted.images import image_faults
from edgetl.export.planted.texts import text_faults
from edgetl.tasks import ImageClassification, ObjectDetection, Task, TextClassification

FAULTS: dict[type, Callable[[Any], list[Fault]]] = {
    ImageClassification: image_faults,
    TextClassification: text_faults,
    ObjectDetection: box_faults,
}


def known_faults(task: Task) -> list[Fault]:
    """Every fault of bundles of this task, in the order of the documentation."""
    return FAULTS[type(task)](task)
