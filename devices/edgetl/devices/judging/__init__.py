"""What is compared of each kind of task: how samples were prepared, what the graph answered, and why it differs.

By the task's type; `judging.Judging` says what each must offer. How much accuracy a difference costs is judged by
`edgetl.devices.measures`, by the metric's name.
"""

from edgetl.devices.judging.boxes import PHOTOS
from edgetl.devices.judging.judging import Judging
from edgetl.devices.judging.labels import IMAGES, TEXTS
from edgetl.tasks import ImageClassification, ObjectDetection, Task, TextClassification

JUDGING: dict[type, Judging] = {ImageClassification: IMAGES, TextClassification: TEXTS, ObjectDetection: PHOTOS}


def judging_of(task: Task) -> Judging:
    """How answers to this task are judged."""
    return JUDGING[type(task)]
