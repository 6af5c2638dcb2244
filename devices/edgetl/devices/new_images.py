"""Asks variants about new images, beside an fp32 variant that answers as torch does."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgetl.devices.answers import Answers, digest_key, joined
from edgetl.devices.examine import BATCH
from edgetl.errors import DataError
from edgetl.files import sha256_of
from edgetl.runtime import Session
from edgetl.tasks.labelled import LabelledFile
from edgetl.tasks.loading import prepare_files
from edgetl.types import Array, Pixels, Track

Decided = Callable[[str, Answers], bool]
"""Whether the answers of the variant with that name decide about it."""


def labelled_answers(
    reference: Session,
    sessions: Mapping[str, Session],
    files: Sequence[LabelledFile],
    decided: Decided | None,
    track: Track,
) -> dict[str, Answers]:
    """Answers of every session on `files`. With `decided`, a stream in random order; each variant takes part until it
    is decided.

    Raises DataError for an image that cannot be decoded.
    """
    ordered = [files[i] for i in np.random.default_rng(0).permutation(len(files))] if decided else list(files)
    gathered: dict[str, list[Answers]] = {name: [] for name in sessions}
    open_questions = dict(sessions)
    watched = track(_batches([file.path for file in ordered], reference), "labelled images", -(-len(files) // BATCH))
    for start, pixels in watched:
        part = ordered[start : start + len(pixels)]
        seen = _reference_answers(part, predicted(reference, pixels))
        for name, session in list(open_questions.items()):
            gathered[name].append(msgspec.structs.replace(seen, variant=predicted(session, pixels)))
            if decided and decided(name, joined(gathered[name])):
                del open_questions[name]
        if not open_questions:
            break
    return {name: joined(parts) for name, parts in gathered.items() if parts}


def unlabelled_changes(
    reference: Session, sessions: Mapping[str, Session], paths: Sequence[Path], track: Track
) -> dict[str, tuple[int, int]]:
    """For each session: how many of how many different images it answers otherwise than the reference."""
    changed = dict.fromkeys(sessions, 0)
    paths = list({sha256_of(path): path for path in paths}.values())
    for _, pixels in track(_batches(paths, reference), "unlabelled images", -(-len(paths) // BATCH)):
        expected = predicted(reference, pixels)
        for name, session in sessions.items():
            changed[name] += int(np.sum(predicted(session, pixels) != expected))
    return {name: (count, len(paths)) for name, count in changed.items()}


def predicted(session: Session, pixels: Pixels) -> Array:
    """The best label index of each image, shape (batch,)."""
    return np.asarray(session.infer({"image": pixels})["logits"].argmax(axis=1))


def _batches(paths: Sequence[Path], session: Session) -> Iterator[tuple[int, Pixels]]:
    """The position of each batch's first file, and its pixels."""
    waiting: list[Pixels] = []
    for i, image in enumerate(prepare_files(paths, session.task.input)):
        if isinstance(image, DataError):
            raise image
        waiting.append(image)
        if len(waiting) == BATCH or i == len(paths) - 1:
            yield i + 1 - len(waiting), np.stack(waiting)
            waiting = []


def _reference_answers(files: Sequence[LabelledFile], reference: Array) -> Answers:
    """What is known of a batch before a variant answers; the reference stands in for it."""
    return Answers(
        samples=np.array([digest_key(sha256_of(file.path)) for file in files], np.uint64),
        truths=np.array([file.label for file in files]),
        reference=reference,
        variant=reference,
        groups=np.array([file.group for file in files]),
    )
