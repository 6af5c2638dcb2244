"""What a kind of task must offer to be judged."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from edgetl.devices.numerics import Distance
from edgetl.devices.preparing import Preparing
from edgetl.devices.profile import Tolerance
from edgetl.devices.verdict import Reason
from edgetl.types import Array, Outputs


class Reproduction(Protocol):
    """Decibels of `outputs` against the variant's `own` answers of the export machine; a reason when suspicious.

    `same_kind`: same engine version and provider on the same kind of processor, where nothing may differ.
    """

    def __call__(
        self, outputs: Outputs, own: Mapping[str, Array] | None, tolerance: Tolerance, task: Any, *, same_kind: bool
    ) -> tuple[float | None, Reason | None]: ...


class Judging(msgspec.Struct, frozen=True, kw_only=True):
    """`input`: are samples prepared as the model expects? `distance`: of outputs from others, for a task.

    `numerics`: of the outputs, the golden set's arrays, the tolerance, the task and the error budget: the distance from
    torch's answers, and whether it is tolerable. `relabelled`: findings with the label indices of another bundle, −1
    for a label it does not have.
    """

    input: Callable[[Any, Preparing], Reason]
    distance: Callable[[Outputs, Mapping[str, Array], Any], Distance]
    numerics: Callable[[Outputs, Mapping[str, Array], Tolerance, Any, float], tuple[Distance, Reason]]
    reproduction: Reproduction
    relabelled: Callable[[Array, Array], Array]
