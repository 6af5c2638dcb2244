"""One pass over all labelled validation samples: torch beside every variant, on the same pixels."""

from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np

from edgetl.bundle import Bundle, file_records
from edgetl.devices.answers import Answers, digest_key
from edgetl.devices.check import skip_reason
from edgetl.devices.examine import answer
from edgetl.devices.profile import Profile
from edgetl.errors import DataError, EngineError
from edgetl.export.source import Source
from edgetl.files import write_via
from edgetl.finetune.cache.frozen import BATCH
from edgetl.finetune.cache.pictures import blocks
from edgetl.finetune.graph import torch_predictor
from edgetl.machine import detect
from edgetl.manifest import Manifest, VariantRecord
from edgetl.runtime import Session
from edgetl.tasks.loading import prepare_files
from edgetl.types import Array, Pixels, Track

VALIDATION = "golden/validation.npz"


def record_answers(
    folder: Path, draft: Manifest, source: Source, profile: Profile, track: Track, reference: Array | None = None
) -> tuple[Manifest, Array]:
    """Adds to every variant that opens here its own golden answers and its answers on the validation split.

    A variant that does not open is left as it is; `check` says why. `reference`: torch's answers to the split,
    label indices of shape (samples,), where they are known already; they are returned.
    """
    bundle = Bundle(folder, msgspec.structs.replace(draft, files=file_records(folder)))
    with ExitStack() as stack:
        sessions = _open_all(bundle, profile, stack)
        reference, answers = _validation_answers(sessions, source, track, reference)
        own = _own_answers(bundle, sessions, track)
        facts = {name: session.facts for name, session in sessions.items()}
    travels = bool(len(reference)) and draft.golden.kind != "none"
    validation = _write_shared(folder, source, reference) if travels and draft.validation is None else draft.validation
    variants = []
    for variant in draft.variants:
        if variant.id in answers and len(reference):
            result = answers[variant.id].result()
            variant = msgspec.structs.replace(variant, facts=facts[variant.id], task_result=result)
        if variant.id in answers and travels:
            variant = _write_answers(folder, variant, answers[variant.id])
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
    """Torch's and every session's answers on the validation split, decoded once."""
    samples = source.split("val")
    decoded = prepare_files((source.root / sample.path for sample in samples), source.task.input)
    torch_fp32 = torch_predictor(source.model, source.task)
    watched = track(zip(range(len(samples)), map(_pixels, decoded), strict=True), "judge on validation", len(samples))
    expected: list[Array] = []
    found: dict[str, list[Array]] = {name: [] for name in sessions}
    for _, pixels in blocks(watched, BATCH):
        if reference is None:
            expected.append(torch_fp32(pixels).argmax(axis=1))
        for name, session in sessions.items():
            found[name].append(session.infer({"image": pixels})["logits"].argmax(axis=1))
    best = reference if reference is not None else _labels(expected)
    return best, {name: _answers(source, best, _labels(parts)) for name, parts in found.items()}


def _labels(parts: list[Array]) -> Array:
    return np.concatenate([np.zeros(0, np.int32), *parts]).astype(np.int32)


def _answers(source: Source, reference: Array, variant: Array) -> Answers:
    samples = source.split("val")
    groups = np.array([sample.group for sample in samples]) if any(sample.group for sample in samples) else None
    return Answers(
        samples=np.array([digest_key(sample.sha256) for sample in samples], np.uint64),
        truths=np.array([sample.label for sample in samples], np.int32),
        reference=reference,
        variant=variant,
        groups=groups,
    )


def _pixels(decoded: Pixels | DataError) -> Pixels:
    if isinstance(decoded, DataError):
        raise decoded
    return decoded


def _own_answers(bundle: Bundle, sessions: dict[str, Session], track: Track) -> dict[str, Array]:
    if bundle.manifest.golden.kind == "none":
        return {}
    pixels = bundle.golden()["image"]
    watched = track(list(sessions), "golden answers", len(sessions))
    return {name: answer(sessions[name], pixels)["logits"] for name in watched}


def _write_shared(folder: Path, source: Source, reference: Array) -> str:
    answers = _answers(source, reference, reference)
    arrays = {"samples": answers.samples, "truths": answers.truths, "reference": answers.reference}
    if answers.groups is not None:
        arrays["groups"] = answers.groups
    (folder / VALIDATION).parent.mkdir(exist_ok=True)
    write_via(folder / VALIDATION, lambda stream: np.savez_compressed(stream, **arrays))  # type: ignore[arg-type]
    return VALIDATION


def _write_answers(folder: Path, variant: VariantRecord, answers: Answers) -> VariantRecord:
    relative = f"{variant.id}/validation.npz"
    write_via(folder / relative, lambda stream: np.savez_compressed(stream, variant=answers.variant))
    return msgspec.structs.replace(variant, answers=relative)


def _write_own(folder: Path, variant: VariantRecord, logits: Array) -> VariantRecord:
    relative = f"{variant.id}/golden.npz"
    write_via(folder / relative, lambda stream: np.savez_compressed(stream, logits=logits))
    return msgspec.structs.replace(variant, golden=relative)
