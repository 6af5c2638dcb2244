"""What a bundle is compared with: an earlier bundle, or the report an earlier gate wrote."""

import base64
import binascii
import hashlib
from pathlib import Path

import msgspec
import numpy as np
from msgspec import structs

from edgetl.bundle import Bundle, open_bundle
from edgetl.devices.answers import Answers, validation_answers
from edgetl.devices.drop import Evidence, verdict_of
from edgetl.devices.judging import judging_of
from edgetl.devices.measures import measure_of
from edgetl.devices.profile import Accuracy
from edgetl.devices.statistics import ALPHA, error_budget, percent
from edgetl.devices.verdict import Reason, VariantReport
from edgetl.errors import ArtefactError
from edgetl.files import read_json
from edgetl.machine import Machine
from edgetl.manifest import VariantRecord
from edgetl.types import Array, Verdict

SCHEMA = "1.0"
MAX_SAMPLES = 100_000
"""A report keeps the answers to so many samples; more would make it a data file."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """Which samples a variant answered rightly, as base64 of 64-bit digests and of bits; `model`: its files' digest."""

    samples: str
    right: str
    model: str


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `gate --json` prints and a later gate reads: the check's report, the machine, the paired answers."""

    schema: str
    bundle: str
    device: str
    verdict: Verdict
    baseline: str | None
    machine: Machine
    variants: tuple[VariantReport, ...]
    answers: dict[str, Recorded] = {}
    confidence: float = 1 - ALPHA


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """An opened baseline: one of the two."""

    name: str
    bundle: Bundle | None = None
    report: GateReport | None = None

    def variant(self, name: str) -> VariantRecord | None:
        """The bundle's variant of that name; None for a report, or when there is none."""
        if self.bundle is None:
            return None
        return next((each for each in self.bundle.manifest.variants if each.id == name), None)


def open_baseline(path: Path) -> Baseline:
    """A bundle folder or a report file. Raises ArtefactError."""
    if path.is_file():
        return Baseline(name=str(path), report=read_json(path, GateReport, major=1))
    return Baseline(name=str(path), bundle=open_bundle(path))


def model_digest(bundle: Bundle, variant: VariantRecord) -> str:
    """One digest of all that decides an answer: the files the engine opens, its options, and the task."""
    listed = {each.path: each.sha256 for each in bundle.manifest.files}
    whole = [[listed[name] for name in variant.files], sorted(variant.options.items()), bundle.manifest.task]
    return hashlib.sha256(msgspec.json.encode(whole)).hexdigest()


def record(right: Array, answers: Answers, model: str) -> Recorded:
    """Which `answers` of the variant with that model digest are `right`, as a report carries it."""
    right = right[:MAX_SAMPLES]
    samples = answers.samples[:MAX_SAMPLES].astype("<u8")
    packed = np.packbits(right).tobytes()
    return Recorded(
        samples=base64.b64encode(samples.tobytes()).decode(), right=base64.b64encode(packed).decode(), model=model
    )


def accuracy_reason(
    baseline: Baseline, variant: VariantRecord, evidence: Evidence | None, new: Bundle, accuracy: Accuracy
) -> Reason:
    """Whether the variant lost against the baseline's, on the samples both answered."""
    before = _model(baseline, variant.id)
    if before is None:
        return Reason(layer="baseline", verdict="pass", text="the baseline has no such variant to be worse than")
    if model_digest(new, variant) == before:
        return Reason(layer="baseline", verdict="pass", text="the same model files as the baseline's")
    paired = _paired(baseline, variant.id, evidence.answers, new) if evidence else None
    if evidence is None or paired is None or not len(paired):
        text = "the baseline has no answers to the same samples, so accuracy cannot be compared"
        return Reason(layer="baseline", verdict="undecided", text=text)
    if baseline.report is not None:
        accuracy = structs.replace(accuracy, metric="top1")  # a report knows right and wrong only
    drop = measure_of(accuracy).drop(structs.replace(evidence, answers=paired, unlabelled=None), accuracy)
    alpha = error_budget(accuracy.confidence)
    verdict = verdict_of(drop, alpha, alpha / evidence.looks)
    text = (
        f"{accuracy.metric} {drop.reference:.1%} → {drop.value:.1%} on {len(paired)} common samples, drop "
        f"{100 * (drop.reference - drop.value):+.2f} points, between {100 * drop.low:.2f} and {100 * drop.high:.2f} "
        f"({percent(alpha)}), allowed {accuracy.max_drop_points:g}"
    )
    return Reason(layer="baseline", verdict=verdict, text=text, p_value=drop.p_above)


def _model(baseline: Baseline, variant: str) -> str | None:
    if baseline.report is not None:
        recorded = baseline.report.answers.get(variant)
        return recorded.model if recorded else None
    before = baseline.variant(variant)
    return model_digest(baseline.bundle, before) if baseline.bundle and before else None


def _paired(baseline: Baseline, variant: str, answers: Answers, new: Bundle) -> Answers | None:
    """The new answers beside the baseline's as reference."""
    if baseline.report is not None:
        recorded = baseline.report.answers.get(variant)
        return _beside(answers, *_decoded(recorded, baseline.name)) if recorded else None
    before = baseline.variant(variant)
    theirs = validation_answers(baseline.bundle, before) if baseline.bundle and before else None
    if baseline.bundle is None or theirs is None:
        return None
    names, index = baseline.bundle.manifest.task.labels, new.manifest.task.labels
    same = {i: index.index(name) for i, name in enumerate(names) if name in index}
    known = np.array([same.get(i, -1) for i in range(len(names))])
    return _beside(answers, theirs.samples, judging_of(new.manifest.task).relabelled(theirs.variant, known))


def _beside(answers: Answers, samples: Array, reference: Array) -> Answers:
    """The part of `answers` to `samples`, with `reference` (label indices, −1 for wrong, −2 for right) beside it."""
    _, ours, theirs = np.intersect1d(answers.samples, samples, return_indices=True)
    truths = answers.truths[ours]
    return Answers(
        samples=answers.samples[ours],
        truths=truths,
        reference=np.where(reference[theirs] == -2, truths, reference[theirs]),
        variant=answers.variant[ours],
    )


def _decoded(recorded: Recorded, name: str) -> tuple[Array, Array]:
    """Digests and −2 for a right answer, −1 for a wrong one."""
    try:
        samples = np.frombuffer(base64.b64decode(recorded.samples, validate=True), "<u8")
        packed = np.frombuffer(base64.b64decode(recorded.right, validate=True), np.uint8)
    except (binascii.Error, ValueError) as error:
        raise ArtefactError(f"the answers in `{name}` are damaged: {error}", hint="write the report again") from error
    right = np.unpackbits(packed)[: len(samples)]
    if len(right) != len(samples):
        raise ArtefactError(f"the answers in `{name}` do not fit its samples", hint="write the report again")
    return samples.astype(np.uint64), np.where(right, -2, -1)
