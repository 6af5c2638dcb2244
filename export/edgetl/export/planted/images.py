"""Faults of image classifiers: of the normalisation in the graph, and of the preparation of images."""

from collections.abc import Callable

import numpy as np

from edgetl.bundle import Bundle
from edgetl.devices.preparations import Preparation, wrong_preparations
from edgetl.devices.preparing import Preprocess
from edgetl.export.planted import edits
from edgetl.export.planted.common import in_any_classifier, in_any_graph
from edgetl.export.planted.fault import Fault, exported
from edgetl.tasks import ImageClassification, ObjectDetection


def image_faults(task: ImageClassification) -> list[Fault]:
    """Every fault, in the order of the documentation."""
    return [*in_pixels(task), *in_any_classifier(), *in_any_graph()]


def in_pixels(task: ImageClassification | ObjectDetection) -> list[Fault]:
    """Faults of the pixels before the first layer."""
    imagenet = tuple(task.mean) == (0.485, 0.456, 0.406)
    preparations = wrong_preparations(task.input)
    some = {name: make for name, make in preparations.items() if not name.startswith(("red", "crop off"))}
    some |= {name: make for name, make in preparations.items() if name == "crop off by one pixel (+1, +0)"}
    return [
        Fault(name="red and blue swapped", plant=exported(edits.swap_red_and_blue)),
        Fault(
            name="mean and std of another library",
            plant=exported(edits.mean_and_std_of_a_half if imagenet else edits.mean_and_std_of_imagenet),
        ),
        Fault(name="0–255 pixels fed as 0–1", plant=exported(edits.pixels_not_divided)),
        *(Fault(name=f"preparation: {name}", preparation=_all_of(make)) for name, make in some.items()),
    ]


def _all_of(make: Preparation) -> Callable[[Bundle], Preprocess]:
    return lambda bundle: lambda encoded: np.stack([make(content) for content in encoded])
