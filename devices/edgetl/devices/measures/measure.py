"""What a metric must offer so that the task layer can judge its drop."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from edgetl.devices.answers import Answers
from edgetl.devices.drop import Drop, Evidence
from edgetl.devices.profile import Accuracy
from edgetl.devices.verdict import ClassReport, Reason
from edgetl.manifest import TaskResult
from edgetl.types import Array


class ClassBound(Protocol):
    """The drop of each class against `most` points; as `layers.classes.class_bound`."""

    def __call__(
        self, answers: Answers, most: float, labels: tuple[str, ...], alpha: float, *, share: float, sequential: bool
    ) -> Reason: ...


class ClassReports(Protocol):
    """The metric of every class that has samples; as `layers.classes.class_reports`."""

    def __call__(
        self, answers: Answers, labels: tuple[str, ...], alpha: float, *, sequential: bool
    ) -> tuple[ClassReport, ...]: ...


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """`drop`: the metric of reference and variant on the same samples, with bounds.

    `enough`: how many samples in all would decide if answers kept changing at this rate; None for never. `fewest`: so
    many can never prove the bound, whatever they show. `result`: what the manifest keeps; `right`: which samples
    the variant answered rightly, where answers are right or wrong; `conceivable`: whether by
    such a result a drop of at most so many points is no strange thing to suspect. `class_reasons`: what is said of
    silent or damaged classes.
    """

    drop: Callable[[Evidence, Accuracy], Drop]
    enough: Callable[[Evidence, Accuracy, Drop], int | None]
    fewest: Callable[[Evidence, Accuracy], int]
    result: Callable[[Answers], TaskResult]
    right: Callable[[Answers], Array] | None
    conceivable: Callable[[TaskResult, float], bool]
    class_reasons: Callable[[Answers, tuple[str, ...], float], list[Reason]]
    class_bound: ClassBound
    class_reports: ClassReports
