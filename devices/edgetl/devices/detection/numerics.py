"""Numerics layer of detectors: are boxes and scores torch's, are they the variant's own, and which fault explains them?

Tolerances are those of logits: the largest difference is of a score or of a box's coordinate as a share of its side,
SQNR of scores or boxes, whichever is worse, agreement the share of objects that both find, a column one label's scores.
"""

from collections.abc import Mapping

from edgetl.devices.detection.agreement import Agreement, agree
from edgetl.devices.detection.causes import cause_of
from edgetl.devices.numerics import Distance
from edgetl.devices.profile import Tolerance
from edgetl.devices.statistics import ALPHA, upper_rate
from edgetl.devices.verdict import Reason
from edgetl.tasks import ObjectDetection
from edgetl.types import Array, Outputs

MAX_OUTSIDE = 1e-3
"""A score may leave 0–1 by so much, for rounding."""


def numerics_layer(
    outputs: Outputs, arrays: Mapping[str, Array], tolerance: Tolerance, task: ObjectDetection, alpha: float = ALPHA
) -> tuple[Distance, Reason]:
    """The variant's `boxes` and `scores` against torch's in `arrays`, the golden set.

    Agreement is judged on its bound at 1 − `alpha`: a mean of shares varies no more than one of yes and no does.
    """
    found = agree(outputs, {name: arrays[name] for name in task.compared}, task)
    problems = _outside(found, tolerance, task.labels, alpha)
    scores = outputs["scores"]
    if not (scores.min(initial=0) >= -MAX_OUTSIDE and scores.max(initial=0) <= 1 + MAX_OUTSIDE):
        problems.append("scores lie outside 0–1")
    cause = cause_of(outputs, arrays, task)
    if cause and not problems:
        problems = ["another hypothesis fits the answers significantly better"]
    text = "; ".join(problems) or f"{found.photos} photos within tolerance, {_words(found)}"
    return found.distance(), Reason(layer="numerics", verdict="fail" if problems else "pass", text=text, cause=cause)


def _words(found: Agreement) -> str:
    return (
        f"{found.matched:.1%} of objects agree (mean overlap {found.matched_iou:.3f}, scores "
        f"{found.mean_score_difference:.3f} apart), SQNR {found.score_sqnr_db:.1f} dB of scores, "
        f"{found.box_sqnr_db:.1f} dB of boxes"
    )


def _outside(found: Agreement, tolerance: Tolerance, labels: tuple[str, ...], alpha: float) -> list[str]:
    """What is out of tolerance, in words. NaN is outside every bound."""
    worst, problems = labels[found.worst_label], []
    most, least, column = tolerance.max_abs_dlogit, tolerance.min_sqnr_db, tolerance.min_column_sqnr_db
    if most is not None and not found.most <= most:
        problems.append(f"a score, or a box in sides of it, is {found.most:.2g} off torch's, allowed {most:g}")
    if least is not None:
        named = (("scores", found.score_sqnr_db), ("boxes", found.box_sqnr_db))
        problems += [f"SQNR of {what} {db:.1f} dB, at least {least:g} wanted" for what, db in named if not db >= least]
    if column is not None and not found.label_sqnr_db >= column:
        problems.append(f"the scores of `{worst}` have SQNR {found.label_sqnr_db:.1f} dB, at least {column:g} wanted")
    agreeing, wanted = round(found.matched * found.photos), tolerance.min_agreement
    # on the interval: of few photos some may always differ
    if wanted is not None and upper_rate(agreeing, found.photos, alpha) < wanted:
        problems.append(f"agrees on {found.matched:.1%} of objects, at least {wanted:.0%} wanted")
    if tolerance.max_kl is not None and not found.divergence <= tolerance.max_kl:
        problems.append(f"scores diverge by {found.divergence:.2g} nats a row, allowed {tolerance.max_kl:g}")
    return problems


def reproduction(
    outputs: Outputs, own: Mapping[str, Array] | None, tolerance: Tolerance, task: ObjectDetection, *, same_kind: bool
) -> tuple[float | None, Reason | None]:
    """SQNR in dB of scores or boxes, whichever is worse, against the variant's own answers of the export machine, and
    a reason when that is suspicious: `same_kind` says that nothing may differ.
    """
    if own is None:
        return None, None
    found = agree(outputs, {name: own[name] for name in task.compared}, task).sqnr_db
    if not same_kind or found >= tolerance.repeat_sqnr_db:
        return found, None
    text = (
        f"SQNR {found:.1f} dB against its own answers from the export, with the same engine on the same kind of "
        f"processor; at least {tolerance.repeat_sqnr_db:g} wanted"
    )
    return found, Reason(layer="numerics", verdict="fail", text=text, cause="not the model that was judged at export")
