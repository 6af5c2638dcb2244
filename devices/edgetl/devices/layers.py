"""The layers of a verdict: input, numerics and task, each a pure function from arrays to reasons."""

import msgspec
import numpy as np

from edgetl.bundle import TaskResult
from edgetl.devices.hypotheses import PREFIX, graph_cause, input_cause
from edgetl.devices.numerics import Distance, compare
from edgetl.devices.profile import Tolerance
from edgetl.devices.statistics import drop_bounds, samples_to_decide
from edgetl.devices.verdict import Interval, Reason
from edgetl.errors import DataError
from edgetl.tasks import Task
from edgetl.tasks.images import decoder_version
from edgetl.types import Array, Pixels, Verdict

MAX_MEAN_GREY = 1.0
MAX_P999_GREY = 3.0
"""Another decoder version may differ by this many grey levels, on average and at the 99.9th percentile."""


def input_layer(task: Task, encoded: list[bytes], expected: Pixels, decoder: str) -> Reason:
    """Encoded golden images through this machine's decoder against the pixels the export machine saw."""
    try:
        pixels = task.preprocess(encoded)["image"]
    except DataError as error:
        return Reason(layer="input", verdict="fail", text=error.message)
    difference = np.abs(pixels.astype(np.int16) - expected)
    mean, high = float(difference.mean()), float(np.percentile(difference, 99.9))
    same_decoder = decoder == decoder_version()
    fits = not difference.any() if same_decoder else mean <= MAX_MEAN_GREY and high <= MAX_P999_GREY
    text = f"{len(encoded)} encoded images decode "
    if fits:
        return Reason(layer="input", verdict="pass", text=text + ("exactly" if same_decoder else "within tolerance"))
    cause = input_cause(encoded, expected, task.input)
    return Reason(
        layer="input",
        verdict="fail",
        cause=cause,
        text=f"{text}{mean:.2f} grey levels off on average, {high:.0f} at p99.9",
    )


def numerics_layer(
    logits: Array, arrays: dict[str, Array], tolerance: Tolerance, labels: tuple[str, ...]
) -> tuple[Distance, Reason]:
    """The variant's logits against torch's, and whether a known fault explains them better."""
    reference = arrays["logits"]
    distance = compare(logits, reference)
    problems = _outside(distance, tolerance, labels)
    answers = {name.removeprefix(PREFIX): value for name, value in arrays.items() if name.startswith(PREFIX)}
    cause = graph_cause(logits, reference, answers, labels)
    if cause and not problems:
        problems = ["another hypothesis fits the answers significantly better"]
    text = "; ".join(problems) or f"{distance.samples} samples within tolerance, SQNR {distance.sqnr_db:.1f} dB"
    return distance, Reason(layer="numerics", verdict="fail" if problems else "pass", text=text, cause=cause)


def _outside(distance: Distance, tolerance: Tolerance, labels: tuple[str, ...]) -> list[str]:
    problems = []
    worst = labels[distance.worst_label]
    if tolerance.max_abs_dlogit is not None and not distance.max_abs_dlogit <= tolerance.max_abs_dlogit:
        problems.append(
            f"a logit of `{worst}` is {distance.max_abs_dlogit:.2g} off torch's, allowed {tolerance.max_abs_dlogit:g}"
        )
    if tolerance.min_sqnr_db is not None and not distance.sqnr_db >= tolerance.min_sqnr_db:
        problems.append(f"SQNR {distance.sqnr_db:.1f} dB, at least {tolerance.min_sqnr_db:g} wanted; worst `{worst}`")
    if tolerance.min_agreement is not None and not distance.agreement >= tolerance.min_agreement:
        problems.append(f"agrees on {distance.agreement:.1%}, at least {tolerance.min_agreement:.0%} wanted")
    return problems


def task_layer(result: TaskResult, max_drop_points: float, *, exempt: bool) -> tuple[Interval, Reason]:
    """The paired drop of the metric against its bound. `exempt`: an fp32 variant that passed numerics."""
    low, high = drop_bounds(result.lost, result.gained, result.samples)
    value = (result.lost - result.gained) / result.samples if result.samples else 0.0
    interval = Interval(value=100 * value, low=100 * low, high=100 * high)
    verdict: Verdict = "undecided"
    if exempt or interval.high <= max_drop_points:
        verdict = "pass"
    elif interval.low > max_drop_points:
        verdict = "fail"
    text = (
        f"drop {interval.value:+.2f} points, between {interval.low:.2f} and {interval.high:.2f} "
        f"(95 %, {result.samples} samples), allowed {max_drop_points:g}"
    )
    if verdict == "undecided":
        needed = samples_to_decide(result.lost, result.gained, result.samples, max_drop_points / 100)
        text += f"; about {needed} samples would decide" if needed else "; no number of samples would decide"
    return interval, Reason(layer="task", verdict=verdict, text=text)


def count_changes(logits: Array, reference: Array, truths: Array, metric: str) -> TaskResult:
    """Paired top-1 counts from two sets of logits, shape (samples, labels), and the true label indices."""
    variant_right = logits.argmax(1) == truths
    reference_right = reference.argmax(1) == truths
    return TaskResult(
        metric=metric,
        samples=len(truths),
        reference=float(reference_right.mean()) if len(truths) else 0.0,
        value=float(variant_right.mean()) if len(truths) else 0.0,
        lost=int(np.sum(reference_right & ~variant_right)),
        gained=int(np.sum(variant_right & ~reference_right)),
    )


def merge(result: TaskResult, more: TaskResult) -> TaskResult:
    """The counts of two disjoint sets of samples together."""
    samples = result.samples + more.samples
    return msgspec.structs.replace(
        result,
        samples=samples,
        reference=(result.reference * result.samples + more.reference * more.samples) / samples,
        value=(result.value * result.samples + more.value * more.samples) / samples,
        lost=result.lost + more.lost,
        gained=result.gained + more.gained,
    )
