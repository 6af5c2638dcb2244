"""Faults of detectors: boxes said otherwise or moved, classes shifted, and those of the pixels."""

from edgetl.export.planted import edits
from edgetl.export.planted.common import in_any_graph
from edgetl.export.planted.fault import Fault, exported, has_two_labels
from edgetl.export.planted.images import in_pixels
from edgetl.tasks import ObjectDetection


def box_faults(task: ObjectDetection) -> list[Fault]:
    """Every fault, in the order of the documentation."""
    return [
        Fault(name="boxes in xywh for xyxy", plant=exported(edits.boxes_as_sizes)),
        Fault(name="classes shifted by one", plant=exported(edits.classes_shifted), applies=has_two_labels),
        Fault(name="letterbox offset", plant=exported(edits.boxes_moved)),
        *in_pixels(task),
        *in_any_graph(),
    ]
