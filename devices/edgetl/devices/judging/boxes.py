"""Object detection: answers are boxes with scores."""

from collections.abc import Mapping

import msgspec
import numpy as np

from edgetl.devices.detection.agreement import agree
from edgetl.devices.detection.numerics import numerics_layer, reproduction
from edgetl.devices.judging.judging import Judging
from edgetl.devices.layers.input import pixels_layer
from edgetl.devices.numerics import Distance
from edgetl.tasks import ObjectDetection
from edgetl.tasks.detections import Found, as_array
from edgetl.types import Array, Outputs


def _distance(outputs: Outputs, others: Mapping[str, Array], task: ObjectDetection) -> Distance:
    return agree(outputs, {name: others[name] for name in task.compared}, task).distance()


def _relabelled(findings: Array, known: Array) -> Array:
    """Objects of a label that the other bundle does not have are left out."""
    return as_array([_renamed(each, known[each.classes]) for each in findings])


def _renamed(each: Found, classes: Array) -> Found:
    kept = classes >= 0
    return msgspec.structs.replace(
        each, boxes=each.boxes[kept], scores=each.scores[kept], classes=np.asarray(classes[kept])
    )


PHOTOS = Judging(
    input=pixels_layer,
    distance=_distance,
    numerics=numerics_layer,
    reproduction=reproduction,
    relabelled=_relabelled,
)
