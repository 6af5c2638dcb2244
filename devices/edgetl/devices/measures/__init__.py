"""How the drop of a metric is measured and bounded, by the metric's name; and which metric a task is judged by."""

from msgspec import structs

from edgetl.devices.measures.mean_precision import MAP, MAP50
from edgetl.devices.measures.measure import Measure
from edgetl.devices.measures.right_or_wrong import MACRO_F1, TOP1
from edgetl.devices.profile import Accuracy, Profile
from edgetl.errors import ConfigError
from edgetl.tasks import Task

MEASURES = {"top1": TOP1, "macro_f1": MACRO_F1, "map50": MAP50, "map": MAP}


def measure_of(accuracy: Accuracy) -> Measure:
    """The measure of the profile's metric."""
    return MEASURES[accuracy.metric]


def own_measure(task: Task) -> Measure:
    """The measure of the task's own metric."""
    return MEASURES[task.metrics[0]]


def fitted(profile: Profile, task: Task) -> Profile:
    """`profile` with a metric of the task's: a device does not know what runs on it, so top1 means the task's own.

    Raises ConfigError for another metric that the task does not have.
    """
    metric = profile.accuracy.metric
    if metric in task.metrics:
        return profile
    if metric != "top1":
        raise ConfigError(
            f"the profile `{profile.name}` judges `{metric}`, which this task does not have",
            hint=f"one of {', '.join(task.metrics)}",
        )
    own = structs.replace(profile.accuracy, metric=task.metrics[0])
    return structs.replace(profile, accuracy=own)
