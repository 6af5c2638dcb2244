"""One pass over all labelled validation samples: torch beside every variant, on the same pixels."""

from pathlib import Path

import msgspec
import numpy as np

from edgetl.bundle import Bundle, Manifest, TaskResult, VariantRecord, file_records
from edgetl.devices.check import answer
from edgetl.devices.layers import count_changes, merge
from edgetl.devices.profile import Profile
from edgetl.errors import DataError, EngineError
from edgetl.export.source import Source
from edgetl.files import write_via
from edgetl.finetune.batches import batches
from edgetl.finetune.graph import torch_predictor
from edgetl.runtime import Session
from edgetl.tasks.loading import prepare_files
from edgetl.types import Array, Track


def record_answers(folder: Path, draft: Manifest, source: Source, profile: Profile, track: Track) -> Manifest:
    """Adds to every variant that opens here its own golden answers and its paired task result.

    A variant that does not open is left as it is; `check` says why.
    """
    bundle = Bundle(folder, msgspec.structs.replace(draft, files=file_records(folder)))
    sessions = _open_all(bundle, profile)
    try:
        results = _task_results(sessions, source, track)
        own = _own_answers(bundle, sessions, track)
    finally:
        for session in sessions.values():
            session.close()
    variants = []
    for variant in draft.variants:
        if variant.id in sessions:
            variant = msgspec.structs.replace(variant, task_result=results.get(variant.id))
        if variant.id in own:
            variant = _write_own(folder, variant, own[variant.id])
        variants.append(variant)
    return msgspec.structs.replace(draft, variants=tuple(variants), files=file_records(folder))


def _open_all(bundle: Bundle, profile: Profile) -> dict[str, Session]:
    sessions = {}
    for variant in bundle.manifest.variants:
        try:
            sessions[variant.id] = Session(bundle, variant, profile.options(variant.engine) or {})
        except EngineError:
            continue  # check() opens it again and reports the failure
    return sessions


def _task_results(sessions: dict[str, Session], source: Source, track: Track) -> dict[str, TaskResult]:
    """Paired counts of every session over the validation split, decoded once."""
    results: dict[str, TaskResult] = {}
    samples = source.split("val")
    decoded = prepare_files((source.root / sample.path for sample in samples), source.task.input)
    bad: dict[str, DataError] = {}
    reference = torch_predictor(source.model, source.task)
    watched = track(zip(samples, decoded, strict=True), "judge on validation", len(samples))
    for labels, pixels in batches(watched, bad, lambda sample: sample.label):
        truths, expected = np.array(labels), reference(pixels)
        for name, session in sessions.items():
            counted = count_changes(session.infer({"image": pixels})["logits"], expected, truths, "top1")
            results[name] = merge(results[name], counted) if name in results else counted
    for error in bad.values():
        raise error
    return results


def _own_answers(bundle: Bundle, sessions: dict[str, Session], track: Track) -> dict[str, Array]:
    if bundle.manifest.golden.kind == "none":
        return {}
    pixels = bundle.golden()["image"]
    return {name: answer(sessions[name], pixels) for name in track(list(sessions), "golden answers", len(sessions))}


def _write_own(folder: Path, variant: VariantRecord, logits: Array) -> VariantRecord:
    relative = f"{variant.id}/golden.npz"
    write_via(folder / relative, lambda stream: np.savez_compressed(stream, logits=logits))
    return msgspec.structs.replace(variant, golden=relative)
