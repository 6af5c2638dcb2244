"""Numerics layer: are the answers torch's, are they the variant's own, and does a known fault explain them better?"""

from collections.abc import Mapping

import numpy as np

from edgetl.devices.hypotheses import PREFIX, graph_cause
from edgetl.devices.numerics import Distance, compare, log_softmax, sqnr_db
from edgetl.devices.profile import Tolerance
from edgetl.devices.statistics import ALPHA, upper_rate
from edgetl.devices.verdict import Reason
from edgetl.tasks import ImageClassification, TextClassification
from edgetl.types import Array, Outputs

Classifier = ImageClassification | TextClassification

MAX_PROBABILITY_ERROR = 5e-3
"""The softmax runs in fp32 or fp16; between logits and probabilities nothing else may happen."""


def numerics_layer(
    outputs: Outputs, arrays: Mapping[str, Array], tolerance: Tolerance, task: Classifier, alpha: float = ALPHA
) -> tuple[Distance, Reason]:
    """The variant's `logits` and `probabilities` against torch's in `arrays`, the golden set.

    Agreement is judged on its bound at 1 − `alpha`.
    """
    logits, reference = outputs["logits"], arrays["logits"]
    distance = compare(logits, reference, task.temperature)
    problems = _outside(distance, tolerance, task.labels, alpha)
    answers = {name.removeprefix(PREFIX): value for name, value in arrays.items() if name.startswith(PREFIX)}
    cause = graph_cause(logits, reference, answers, task.labels)
    if cause and not problems:
        problems = ["another hypothesis fits the answers significantly better"]
    if lost := _wrong_probabilities(outputs, task):
        problems, cause = [*problems, "the probabilities are not the softmax of the logits"], cause or lost
    text = "; ".join(problems) or f"{distance.samples} samples within tolerance, SQNR {distance.sqnr_db:.1f} dB"
    return distance, Reason(layer="numerics", verdict="fail" if problems else "pass", text=text, cause=cause)


def _outside(distance: Distance, tolerance: Tolerance, labels: tuple[str, ...], alpha: float) -> list[str]:
    """What is out of tolerance, in words. NaN is outside every bound."""
    worst, problems = labels[distance.worst_label], []
    most, least, column = tolerance.max_abs_dlogit, tolerance.min_sqnr_db, tolerance.min_column_sqnr_db
    if most is not None and not distance.max_abs_dlogit <= most:
        problems.append(f"a logit is {distance.max_abs_dlogit:.2g} off torch's, allowed {most:g}; worst `{worst}`")
    if least is not None and not distance.sqnr_db >= least:
        problems.append(f"SQNR {distance.sqnr_db:.1f} dB, at least {least:g} wanted; worst `{worst}`")
    if column is not None and not distance.column_sqnr_db >= column:
        problems.append(
            f"the output of `{worst}` has SQNR {distance.column_sqnr_db:.1f} dB, at least {column:g} wanted"
        )
    agreeing = round(distance.agreement * distance.samples)
    # on the interval: of few samples one may always differ
    if tolerance.min_agreement is not None and upper_rate(agreeing, distance.samples, alpha) < tolerance.min_agreement:
        problems.append(f"agrees on {distance.agreement:.1%}, at least {tolerance.min_agreement:.0%} wanted")
    if tolerance.max_kl is not None and not distance.kl <= tolerance.max_kl:
        problems.append(f"probabilities diverge by {distance.kl:.2g} nats, allowed {tolerance.max_kl:g}")
    return problems


def _wrong_probabilities(outputs: Outputs, task: Classifier) -> str | None:
    """How the probabilities differ from softmax(logits / temperature); None when they do not."""
    logits = outputs["logits"].astype(np.float64)
    if not np.isfinite(logits).all() or _fits(outputs["probabilities"], logits / task.temperature):
        return None
    if task.temperature != 1 and _fits(outputs["probabilities"], logits):
        return "temperature lost"
    return "wrong temperature or softmax"


def _fits(probabilities: Array, scaled: Array) -> bool:
    error = np.abs(probabilities - np.exp(log_softmax(scaled)))
    return bool(error.max() <= MAX_PROBABILITY_ERROR)


def reproduction(
    logits: Array, own: Array | None, tolerance: Tolerance, *, same_kind: bool
) -> tuple[float | None, Reason | None]:
    """SQNR in dB against the variant's own answers of the export machine, and a reason when that is suspicious.

    `same_kind`: same engine version and provider on the same kind of processor, where nothing may differ.
    """
    if own is None:
        return None, None
    found = sqnr_db(logits, own)
    if not same_kind or found >= tolerance.repeat_sqnr_db:
        return found, None
    text = (
        f"SQNR {found:.1f} dB against its own answers from the export, with the same engine on the same kind of "
        f"processor; at least {tolerance.repeat_sqnr_db:g} wanted"
    )
    return found, Reason(layer="numerics", verdict="fail", text=text, cause="not the model that was judged at export")
