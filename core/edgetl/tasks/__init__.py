"""What a model is for: the part of preprocessing, answers and scores that must agree everywhere.

A task is a frozen struct of the fields that travel in `task.json` and in the manifest, with three methods:
`preprocess(samples) -> Feeds`, `postprocess(outputs) -> predictions`, `score(predictions, truths) -> metrics`.
"""

from edgetl.tasks.image_classification import Classification, ImageClassification, LabelProbability

Task = ImageClassification
"""The union of all tasks; msgspec tells them apart by their `task` tag."""

__all__ = ["Classification", "ImageClassification", "LabelProbability", "Task"]
