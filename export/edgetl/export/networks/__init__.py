"""Which module rebuilds the model of a run, by its task's type; loaded when it is asked for."""

import importlib
from pathlib import Path
from typing import cast

from edgetl.export.networks.network import GraphWishes, Network
from edgetl.run import Run
from edgetl.tasks import ImageClassification, ObjectDetection, Task, TextClassification

__all__ = ["NETWORKS", "GraphWishes", "Network", "open_network"]

NETWORKS: dict[type, str] = {
    ImageClassification: "edgetl.export.networks.images",
    TextClassification: "edgetl.export.networks.texts",
    ObjectDetection: "edgetl.export.networks.boxes",
}


def open_network(path: Path, run: Run, task: Task, wishes: GraphWishes) -> tuple[Network, Task]:
    """The model of the run `path`, and the task as its graph does it. Raises ArtefactError, ConfigError."""
    module = importlib.import_module(NETWORKS[type(task)])
    return cast(tuple[Network, Task], module.open_network(path, run, task, wishes))
