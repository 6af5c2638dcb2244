"""One pass over all labelled validation samples: the reference beside every variant, on the same inputs."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np

from edgetl.bundle import Bundle, file_records
from edgetl.devices.answers import Answers, digest_key
from edgetl.devices.check import skip_reason
from edgetl.devices.examine import answer
from edgetl.devices.measures import own_measure
from edgetl.devices.profile import Profile
from edgetl.errors import EngineError
from edgetl.export.source import Source, prepared
from edgetl.files import write_via
from edgetl.machine import detect
from edgetl.manifest import Manifest, VariantRecord
from edgetl.run import SampleRecord
from edgetl.runtime import Session
from edgetl.tasks import Task
from edgetl.tasks.preparation import Prepared
from edgetl.types import Array, Outputs, Track

BATCH = 32
VALIDATION = "golden/validation.npz"


def record_answers(
    folder: Path, draft: Manifest, source: Source, profile: Profile, track: Track, reference: Array | None = None
) -> tuple[Manifest, Array]:
    """Adds to every variant that opens here its own golden answers and its answers on the validation split.

    A variant that does not open is left as it is; `check` says why. `reference`: what the fp32 network found in the
    split, shape (samples,), where it is known already; it is returned.
    """
    bundle = Bundle(folder, msgspec.structs.replace(draft, files=file_records(folder)))
    with ExitStack() as stack:
        sessions = _open_all(bundle, profile, stack)
        reference, answers = _validation_answers(sessions, source, track, reference)
        own = _own_answers(bundle, sessions, track)
        facts = {name: session.facts for name, session in sessions.items()}
    travels, validation = bool(len(reference)) and draft.golden.kind != "none", draft.validation
    if travels and validation is None and answers:
        validation = _write_shared(folder, source.task, next(iter(answers.values())))
    variants = []
    for variant in draft.variants:
        if variant.id in answers and len(reference):
            result = own_measure(source.task).result(answers[variant.id])
            variant = msgspec.structs.replace(variant, facts=facts[variant.id], task_result=result)
        if variant.id in answers and travels:
            variant = _write_answers(folder, variant, source.task.packed(answers[variant.id].variant))
        if variant.id in own:
            variant = _write_own(folder, variant, own[variant.id])
        variants.append(variant)
    recorded = msgspec.structs.replace(
        draft, variants=tuple(variants), validation=validation, machine=detect(), files=file_records(folder)
    )
    return recorded, reference


def runs_here(variant: VariantRecord, profile: Profile) -> VariantRecord:
    """`variant`, or where its engine is not here but its file is plain ONNX, the same file for ONNX Runtime.

    That proves the numbers of the file, not the engine.
    """
    if skip_reason(variant, profile) is None or not variant.files[0].endswith(".onnx"):
        return variant
    return msgspec.structs.replace(variant, engine="onnxruntime", options={"optimization": "none"})


def _open_all(bundle: Bundle, profile: Profile, stack: ExitStack) -> dict[str, Session]:
    sessions = {}
    for variant in bundle.manifest.variants:
        record = runs_here(variant, profile)
        if skip_reason(record, profile) is not None:
            continue
        try:
            session = Session(bundle, record, profile.options(record.engine) or {})
        except EngineError:
            continue  # check() opens it again and reports the failure
        sessions[variant.id] = stack.enter_context(session)
    return sessions


def _validation_answers(
    sessions: dict[str, Session], source: Source, track: Track, reference: Array | None
) -> tuple[Array, dict[str, Answers]]:
    """What the reference and every session find in the validation split, prepared once."""
    samples, task = source.split("val"), source.task
    read = [source.labelled(sample) for sample in samples]
    expected: list[Array] = []
    truths: list[Array] = []
    found: dict[str, list[Array]] = {name: [] for name in sessions}
    watched = track(prepared(source, read), "judge on validation", len(read))
    for start, parts in _blocks(watched):
        feeds = task.join([part.feeds for part in parts])
        sizes = [size for part in parts for size in part.sizes]
        truths.append(task.truths(read[start : start + len(parts)], sizes))
        if reference is None:
            expected.append(task.findings(source.network.answer(feeds)))
        for name, session in sessions.items():
            found[name].append(task.findings(session.infer(feeds)))
    best = reference if reference is not None else _whole(expected)
    true = _whole(truths)
    return best, {name: _answers(samples, true, best, _whole(each)) for name, each in found.items()}


def _blocks(items: Iterable[Prepared]) -> Iterator[tuple[int, list[Prepared]]]:
    """The number of the first, and up to `BATCH` in a row."""
    start, remaining = 0, iter(items)
    while block := list(islice(remaining, BATCH)):
        yield start, block
        start += len(block)


def _whole(parts: list[Array]) -> Array:
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)


def _answers(samples: list[SampleRecord], truths: Array, reference: Array, variant: Array) -> Answers:
    groups = np.array([sample.group for sample in samples]) if any(sample.group for sample in samples) else None
    return Answers(
        samples=np.array([digest_key(sample.sha256) for sample in samples], np.uint64),
        truths=truths,
        reference=reference,
        variant=variant,
        groups=groups,
    )


def _own_answers(bundle: Bundle, sessions: dict[str, Session], track: Track) -> dict[str, Outputs]:
    if bundle.manifest.golden.kind == "none":
        return {}
    inputs, names = bundle.golden_inputs(), bundle.manifest.task.compared
    found = {name: answer(sessions[name], inputs) for name in track(list(sessions), "golden answers", len(sessions))}
    return {name: {output: outputs[output] for output in names} for name, outputs in found.items()}


def _write_shared(folder: Path, task: Task, answers: Answers) -> str:
    truths, reference = task.packed(answers.truths), task.packed(answers.reference)
    arrays = {"samples": answers.samples, "truths": truths, "reference": reference}
    if answers.groups is not None:
        arrays["groups"] = answers.groups
    (folder / VALIDATION).parent.mkdir(exist_ok=True)
    write_via(folder / VALIDATION, lambda stream: np.savez_compressed(stream, **arrays))  # type: ignore[arg-type]
    return VALIDATION


def _write_answers(folder: Path, variant: VariantRecord, found: Array) -> VariantRecord:
    relative = f"{variant.id}/validation.npz"
    write_via(folder / relative, lambda stream: np.savez_compressed(stream, variant=found))
    return msgspec.structs.replace(variant, answers=relative)


def _write_own(folder: Path, variant: VariantRecord, outputs: Outputs) -> VariantRecord:
    relative = f"{variant.id}/golden.npz"
    write_via(folder / relative, lambda stream: np.savez_compressed(stream, **outputs))  # type: ignore[arg-type]
    return msgspec.structs.replace(variant, golden=relative)
