"""One pass over all labelled validation samples: torch beside every variant, on the same pixels."""

from pathlib import Path

import msgspec
import numpy as np

from edgetl.bundle import Bundle, file_records
from edgetl.devices.answers import Answers, digest_key
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


def record_answers(folder: Path, draft: Manifest, source: Source, profile: Profile, track: Track) -> Manifest:
    """Adds to every variant that opens here its own golden answers and its answers on the validation split.

    A variant that does not open is left as it is; `check` says why.
    """
    bundle = Bundle(folder, msgspec.structs.replace(draft, files=file_records(folder)))
    sessions = _open_all(bundle, profile)
    try:
        answers = _validation_answers(sessions, source, track)
        own = _own_answers(bundle, sessions, track)
        facts = {name: session.facts for name, session in sessions.items()}
    finally:
        for session in sessions.values():
            session.close()
    travels = bool(answers) and draft.golden.kind != "none"
    validation = _write_shared(folder, next(iter(answers.values()))) if travels else None
    variants = []
    for variant in draft.variants:
        if variant.id in answers:
            result = answers[variant.id].result()
            variant = msgspec.structs.replace(variant, facts=facts[variant.id], task_result=result)
        if variant.id in answers and travels:
            variant = _write_answers(folder, variant, answers[variant.id])
        if variant.id in own:
            variant = _write_own(folder, variant, own[variant.id])
        variants.append(variant)
    return msgspec.structs.replace(
        draft, variants=tuple(variants), validation=validation, machine=detect(), files=file_records(folder)
    )


def _open_all(bundle: Bundle, profile: Profile) -> dict[str, Session]:
    sessions = {}
    for variant in bundle.manifest.variants:
        try:
            sessions[variant.id] = Session(bundle, variant, profile.options(variant.engine) or {})
        except EngineError:
            continue  # check() opens it again and reports the failure
    return sessions


def _validation_answers(sessions: dict[str, Session], source: Source, track: Track) -> dict[str, Answers]:
    """Torch's and every session's answers on the validation split, decoded once."""
    samples = source.split("val")
    decoded = prepare_files((source.root / sample.path for sample in samples), source.task.input)
    torch_fp32 = torch_predictor(source.model, source.task)
    watched = track(zip(range(len(samples)), map(_pixels, decoded), strict=True), "judge on validation", len(samples))
    reference: list[Array] = []
    found: dict[str, list[Array]] = {name: [] for name in sessions}
    for _, pixels in blocks(watched, BATCH):
        reference.append(torch_fp32(pixels).argmax(axis=1))
        for name, session in sessions.items():
            found[name].append(session.infer({"image": pixels})["logits"].argmax(axis=1))
    if not samples:
        return {}
    keys = np.array([digest_key(sample.sha256) for sample in samples], np.uint64)
    truths = np.array([sample.label for sample in samples], np.int32)
    expected = np.concatenate(reference).astype(np.int32)
    return {
        name: Answers(samples=keys, truths=truths, reference=expected, variant=np.concatenate(parts).astype(np.int32))
        for name, parts in found.items()
    }


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


def _write_shared(folder: Path, answers: Answers) -> str:
    arrays = {"samples": answers.samples, "truths": answers.truths, "reference": answers.reference}
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
