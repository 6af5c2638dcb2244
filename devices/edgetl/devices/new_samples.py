"""Asks variants about new samples, beside an fp32 variant that answers as torch does."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgetl.devices.answers import Answers, digest_key, joined
from edgetl.devices.examine import BATCH
from edgetl.errors import DataError
from edgetl.files import sha256_of
from edgetl.runtime import Session
from edgetl.tasks.labelled import Labelled
from edgetl.tasks.loading import prepare_samples
from edgetl.tasks.preparation import Prepared
from edgetl.types import Array, Feeds, Track

Decided = Callable[[str, Answers], bool]
"""Whether the answers of the variant with that name decide about it."""


def labelled_answers(
    reference: Session,
    sessions: Mapping[str, Session],
    samples: Sequence[Labelled],
    decided: Decided | None,
    track: Track,
) -> dict[str, Answers]:
    """Answers of every session on `samples`. With `decided`, a stream in random order; each variant takes part until
    it is decided.

    Raises DataError for a sample that cannot be prepared.
    """
    ordered = [samples[i] for i in np.random.default_rng(0).permutation(len(samples))] if decided else list(samples)
    gathered: dict[str, list[Answers]] = {name: [] for name in sessions}
    open_questions = dict(sessions)
    batches = _batches([each.sample for each in ordered], reference)
    for start, prepared, feeds in track(batches, "labelled samples", -(-len(samples) // BATCH)):
        part = ordered[start : start + len(prepared)]
        truths = reference.task.truths(part, [size for each in prepared for size in each.sizes])
        seen = _reference_answers(part, truths, found(reference, feeds))
        for name, session in list(open_questions.items()):
            gathered[name].append(msgspec.structs.replace(seen, variant=found(session, feeds)))
            if decided and decided(name, joined(gathered[name])):
                del open_questions[name]
        if not open_questions:
            break
    return {name: joined(parts) for name, parts in gathered.items() if parts}


def unlabelled_changes(
    reference: Session, sessions: Mapping[str, Session], samples: Sequence[Path | str], track: Track
) -> dict[str, tuple[int, int]]:
    """For each session: how many of how many different samples it answers otherwise than the reference."""
    changed = dict.fromkeys(sessions, 0)
    samples = list({_digest(sample): sample for sample in samples}.values())
    batches = _batches(samples, reference)
    for _, _, feeds in track(batches, "unlabelled samples", -(-len(samples) // BATCH)):
        expected = found(reference, feeds)
        for name, session in sessions.items():
            changed[name] += int(np.sum(found(session, feeds) != expected))
    return {name: (count, len(samples)) for name, count in changed.items()}


def found(session: Session, feeds: Feeds) -> Array:
    """What the session finds in each sample of a batch, shape (batch,)."""
    return session.task.findings(session.infer(feeds))


def _digest(sample: Path | str) -> str:
    return sha256_of(sample) if isinstance(sample, Path) else hashlib.sha256(sample.encode()).hexdigest()


def _batches(samples: Sequence[Path | str], session: Session) -> Iterator[tuple[int, list[Prepared], Feeds]]:
    """The position of each batch's first sample, its samples' own inputs, and these as one batch."""
    waiting: list[Prepared] = []
    for i, prepared in enumerate(prepare_samples(samples, session.bundle.preparation)):
        if isinstance(prepared, DataError):
            raise prepared
        waiting.append(prepared)
        if len(waiting) == BATCH or i == len(samples) - 1:
            yield i + 1 - len(waiting), waiting, session.task.join([each.feeds for each in waiting])
            waiting = []


def _reference_answers(samples: Sequence[Labelled], truths: Array, reference: Array) -> Answers:
    """What is known of a batch before a variant answers; the reference stands in for it."""
    return Answers(
        samples=np.array([digest_key(each.sha256()) for each in samples], np.uint64),
        truths=truths,
        reference=reference,
        variant=reference,
        groups=np.array([each.group for each in samples]),
    )
