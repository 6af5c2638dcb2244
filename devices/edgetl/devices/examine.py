"""Opens one variant, runs the golden set through it once, and asks the engine, input and numerics layers."""

from collections.abc import Sequence

import msgspec
import numpy as np

from edgetl.bundle import Bundle
from edgetl.devices.answers import Answers, no_answers, validation_answers
from edgetl.devices.drop import Evidence
from edgetl.devices.judging import judging_of
from edgetl.devices.layers.latency import quantiles_of, query_size, unmeasured
from edgetl.devices.preparing import Preparing, Preprocess
from edgetl.devices.profile import Profile, Tolerance
from edgetl.devices.statistics import error_budget
from edgetl.devices.verdict import Latency, Reason, VariantReport, worst
from edgetl.errors import EngineError
from edgetl.machine import detect, saturates_int8
from edgetl.manifest import VariantRecord
from edgetl.runtime import Session
from edgetl.runtime.bench import BenchOptions
from edgetl.runtime.bench.scenarios import Setup, single_stream
from edgetl.runtime.precision import precision_problem, provider_problem
from edgetl.runtime.throughput import batches
from edgetl.tasks.inputs import Inputs
from edgetl.types import Array, EngineFacts, Outputs

BATCH = 8


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """The golden set in memory: its arrays, and the input layer's reason, which all variants share."""

    arrays: dict[str, Array]
    input: Reason | None


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """A variant's report without the task layer, and what that layer will judge; `exempt` as it says there."""

    variant: VariantRecord
    report: VariantReport
    evidence: Evidence | None = None
    exempt: bool = False


def read_golden(bundle: Bundle, preprocess: Preprocess | None) -> Golden:
    """Reads the golden set and judges the preparation of its encoded images and of the decoder's probes."""
    record, task = bundle.manifest.golden, bundle.manifest.task
    arrays = bundle.golden() if record.kind != "none" else {}
    encoded, expected = bundle.probes()
    if record.encoded:
        encoded += [bundle.file(relative).read_bytes() for relative in record.encoded]
        carried = task.take(arrays, np.arange(len(record.encoded)))
        expected = task.join([expected, carried]) if expected else carried
    if not encoded:
        return Golden(arrays=arrays, input=None)
    preparing = Preparing(
        encoded=encoded,
        expected=expected,
        prepare=lambda samples: bundle.preparation(samples).feeds,
        own=preprocess,
        reader=record.decoder,
        here=task.reader(),
    )
    return Golden(arrays=arrays, input=judging_of(task).input(task, preparing))


def examine(
    bundle: Bundle, variant: VariantRecord, profile: Profile, golden: Golden, latency: BenchOptions | None
) -> Examined:
    """Asks every layer but the task's. A variant that does not open fails in the engine layer."""
    try:
        # not load(): an executed precision other than the declared one is to be judged, with all its numbers
        with Session(bundle, variant, profile.options(variant.engine) or {}) as session:
            examined = _examine(session, profile, golden)
            return _with_latency(session, examined, latency, query_size(profile.latency)) if latency else examined
    except EngineError as error:
        reason = Reason(layer="engine", verdict="fail", text=error.message)
        report = VariantReport(id=variant.id, verdict="fail", reasons=(reason,))
        return Examined(variant=variant, report=report)


def _with_latency(session: Session, examined: Examined, options: BenchOptions, size: int) -> Examined:
    """With the latency of queries of `size` samples to the engine alone, one after the other, in this process.

    Raises EngineError when the engine refuses a single sample; a batch that it refuses leaves the latency open.
    """
    queries, report = batches(session.bundle, size), examined.report
    try:
        found, times = single_stream.measure(lambda i: session.infer(queries[i % len(queries)]), Setup(options=options))
    except EngineError as error:
        if size == 1:
            raise
        reasons = (*report.reasons, unmeasured("latency", error))
        return msgspec.structs.replace(examined, report=msgspec.structs.replace(report, reasons=reasons))
    measured = Latency(p50=found.p50_ms, p99=found.p99_ms, quantiles=quantiles_of(times))
    return msgspec.structs.replace(examined, report=msgspec.structs.replace(report, latency_ms=measured))


def _examine(session: Session, profile: Profile, golden: Golden) -> Examined:
    variant, facts = session.variant, session.facts
    reasons = [golden.input] if golden.input else []
    for problem in (precision_problem(variant.precision, facts), provider_problem(facts)):
        if problem:
            reasons.append(Reason(layer="precision", verdict="fail", text=problem))
    if not golden.arrays:
        reasons.append(Reason(layer="numerics", verdict="undecided", text="the bundle carries no golden set"))
        report = VariantReport(id=variant.id, verdict="undecided", facts=facts, reasons=tuple(reasons))
        return Examined(variant=variant, report=report)
    outputs = answer(session, session.bundle.golden_inputs())
    alpha = error_budget(profile.accuracy.confidence)
    tolerance: Tolerance = getattr(profile.numerics, variant.precision)
    judging = judging_of(session.task)
    distance, numerics = judging.numerics(outputs, golden.arrays, tolerance, session.task, alpha)
    own = session.bundle.own_answers(variant)
    same_kind = _same_kind(session.bundle, variant, facts)
    repeated, odd = judging.reproduction(outputs, own, tolerance, session.task, same_kind=same_kind)
    reasons += [numerics, *([odd] if odd else [])]
    report = VariantReport(
        id=variant.id,
        verdict=worst(reason.verdict for reason in reasons),
        samples=distance.samples,
        agreement=distance.agreement,
        sqnr_db=distance.sqnr_db,
        column_sqnr_db=distance.column_sqnr_db,
        kl=distance.kl,
        max_abs_dlogit=distance.max_abs_dlogit,
        reproduction_sqnr_db=repeated,
        facts=facts,
        reasons=tuple(reasons),
    )
    evidence = _inherited(session, outputs, golden, repeated, tolerance)
    exempt = variant.precision == "fp32" and report.verdict == "pass"
    return Examined(variant=variant, report=report, evidence=evidence, exempt=exempt)


def _inherited(
    session: Session, outputs: Outputs, golden: Golden, repeated: float | None, tolerance: Tolerance
) -> Evidence:
    """The answers recorded at export when the variant's own are reproduced, else those to the golden set."""
    recorded = validation_answers(session.bundle, session.variant)
    looks = max(1, sum(attempt.drop_points is not None for attempt in session.variant.attempts))
    reproduced = repeated is not None and repeated >= tolerance.reproduction_sqnr_db
    if recorded is not None and reproduced:
        return Evidence(answers=recorded, looks=looks)
    note = "the export recorded no answers to validation samples, so judged on the golden set: "
    if repeated is not None and not reproduced:
        why = f"SQNR {repeated:.1f} dB{_clipping(session.variant)}"
        note = f"answers differ from the export machine's ({why}), so judged on the golden set: "
    truths = golden.arrays.get("labels")
    if truths is None:
        return Evidence(answers=no_answers(), note=note)
    numbers = np.arange(session.bundle.manifest.golden.samples, dtype=np.uint64)
    samples, task = golden.arrays.get("digests", numbers), session.task
    answers = Answers(
        samples=samples,
        truths=task.unpacked(truths, len(samples)),
        reference=task.findings(golden.arrays),
        variant=task.findings(outputs),
    )
    # the golden set is a part of the validation split, by which the variant was chosen
    return Evidence(answers=answers, note=note, looks=looks)


def _clipping(variant: VariantRecord) -> str:
    """What explains other answers of an int8 variant on this processor."""
    if variant.precision != "int8" or not saturates_int8(detect()):
        return ""
    return "; this processor has no VNNI, so int8 products saturate"


def _same_kind(bundle: Bundle, variant: VariantRecord, facts: EngineFacts) -> bool:
    """Whether this engine on this processor is what made the variant's own answers, and would make them again.

    OpenVINO's INT8 kernels for AVX2 without VNNI do not repeat themselves to the last bit (docs/numerics.md).
    """
    made, here = bundle.manifest.machine, detect()
    repeats = not (variant.engine == "openvino" and _clipping(variant))
    return (
        repeats
        and made is not None
        and variant.facts is not None
        and msgspec.structs.replace(variant.facts, threads=0) == msgspec.structs.replace(facts, threads=0)
        and (made.arch, made.features, made.gpus) == (here.arch, here.features, here.gpus)
    )


def answer(session: Session, inputs: Inputs) -> Outputs:
    """The session's answers to all of `inputs`, in batches: what the task compares, and probabilities where it has any.

    A task whose recorded inputs have no fixed shape is asked with every batch as long as its longest sample.
    """
    return joined_outputs([session.infer(batch) for batch in inputs.batches(BATCH)])


def joined_outputs(parts: Sequence[Outputs]) -> Outputs:
    """The outputs of several batches as those of one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
