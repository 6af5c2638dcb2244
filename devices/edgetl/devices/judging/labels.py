"""Classification of images and of texts: both answer with logits, and differ in how samples become inputs."""

from collections.abc import Mapping
from typing import Any

from edgetl.devices.judging.judging import Judging
from edgetl.devices.layers.input import pixels_layer
from edgetl.devices.layers.numerics import numerics_layer, reproduction
from edgetl.devices.layers.tokens import tokens_layer
from edgetl.devices.numerics import Distance, compare
from edgetl.devices.profile import Tolerance
from edgetl.devices.verdict import Reason
from edgetl.types import Array, Outputs


def _reproduction(
    outputs: Outputs, own: Mapping[str, Array] | None, tolerance: Tolerance, task: Any, *, same_kind: bool
) -> tuple[float | None, Reason | None]:
    recorded = None if own is None else own["logits"]
    return reproduction(outputs["logits"], recorded, tolerance, same_kind=same_kind)


def _distance(outputs: Outputs, reference: Mapping[str, Array], task: Any) -> Distance:
    return compare(outputs["logits"], reference["logits"], task.temperature)


def _relabelled(findings: Array, known: Array) -> Array:
    return known[findings]


IMAGES = Judging(
    input=pixels_layer, distance=_distance, numerics=numerics_layer, reproduction=_reproduction, relabelled=_relabelled
)

TEXTS = Judging(
    input=tokens_layer, distance=_distance, numerics=numerics_layer, reproduction=_reproduction, relabelled=_relabelled
)
