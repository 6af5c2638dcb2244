"""What a model is for: the part of preprocessing, answers and scores that must agree everywhere.

A task is a frozen struct of the fields that travel in `task.json` and in the manifest. All have: `labels`, `metrics`
(its own first), `files` that travel beside it and `records` that stay in the run, `inputs` and `misfit` (what the
graph reads and answers), `takes` (what a sample is), `preparation` and `reader` (samples to inputs, and what does
it) with the `extras` they need, `order`, `take` and `join` (batches of samples and of recorded inputs), `longest`
(bounds of dynamic axes), `compared` (the outputs that are held against torch's), `findings`, `packed` and `unpacked`
(what is judged of the outputs, and how a file holds it), and `answers` (outputs to predictions, each an `answer`).
"""

from edgetl.tasks.classification import Classification, LabelProbability
from edgetl.tasks.detections import Box, Detections
from edgetl.tasks.image_classification import ImageClassification
from edgetl.tasks.object_detection import ObjectDetection
from edgetl.tasks.text_classification import TextClassification

Task = ImageClassification | TextClassification | ObjectDetection
"""The union of all tasks; msgspec tells them apart by their `task` tag."""

Prediction = Classification | Detections

__all__ = [
    "Box",
    "Classification",
    "Detections",
    "ImageClassification",
    "LabelProbability",
    "ObjectDetection",
    "Prediction",
    "Task",
    "TextClassification",
]
