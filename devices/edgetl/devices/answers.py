"""Paired answers: for each labelled sample its truth, what the reference answered and what a variant answered."""

from collections.abc import Sequence

import msgspec
import numpy as np

from edgetl.bundle import Bundle
from edgetl.manifest import TaskResult, VariantRecord
from edgetl.types import Array


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """Arrays of shape (samples,): 64 bits of the SHA-256 of each sample, what is true of it, what the reference found
    and what the variant found: label indices, or the objects of a photo (`edgetl.tasks.detections.Found`).

    `groups` names what each sample belongs to (a camera, a customer), or is None.
    """

    samples: Array
    truths: Array
    reference: Array
    variant: Array
    groups: Array | None = None

    def __len__(self) -> int:
        return len(self.truths)

    @property
    def lost(self) -> Array:
        """Where only the reference was right."""
        return np.asarray((self.reference == self.truths) & (self.variant != self.truths))

    @property
    def gained(self) -> Array:
        """Where only the variant was right."""
        return np.asarray((self.reference != self.truths) & (self.variant == self.truths))

    def with_new(self, more: "Answers") -> "Answers":
        """These and those of `more` whose sample is not here yet, each once."""
        new = np.zeros(len(more), bool)
        new[np.unique(more.samples, return_index=True)[1]] = True
        new &= ~np.isin(more.samples, self.samples)
        return joined([self, more.only(new)])

    def only(self, mask: Array) -> "Answers":
        """The answers where `mask` is true."""
        return Answers(
            samples=self.samples[mask],
            truths=self.truths[mask],
            reference=self.reference[mask],
            variant=self.variant[mask],
            groups=None if self.groups is None else self.groups[mask],
        )

    def result(self, metric: str = "top1") -> TaskResult:
        """The paired counts, as the manifest keeps them."""
        count = max(len(self), 1)
        return TaskResult(
            metric=metric,
            samples=len(self),
            reference=float(np.sum(self.reference == self.truths)) / count,
            value=float(np.sum(self.variant == self.truths)) / count,
            lost=int(self.lost.sum()),
            gained=int(self.gained.sum()),
        )


def no_answers() -> Answers:
    """None at all."""
    nothing = np.zeros(0, np.int64)
    return Answers(samples=nothing.astype(np.uint64), truths=nothing, reference=nothing, variant=nothing)


def joined(parts: Sequence[Answers]) -> Answers:
    """All answers of `parts`, one after the other."""
    grouped = any(part.groups is not None for part in parts)
    return Answers(
        samples=np.concatenate([part.samples for part in parts]),
        truths=np.concatenate([part.truths for part in parts]),
        reference=np.concatenate([part.reference for part in parts]),
        variant=np.concatenate([part.variant for part in parts]),
        groups=np.concatenate([_groups(part) for part in parts]) if grouped else None,
    )


def _groups(answers: Answers) -> Array:
    return answers.groups if answers.groups is not None else np.full(len(answers), "")


def digest_key(sha256: str) -> int:
    """The first 64 bits of a hex digest: enough to tell the images of a data set apart."""
    return int(sha256[:16], 16)


def validation_answers(bundle: Bundle, variant: VariantRecord) -> Answers | None:
    """What torch and `variant` answered on the validation split at export; None when it was not recorded."""
    if variant.answers is None or bundle.manifest.validation is None:
        return None
    shared, found = bundle.validation(variant)
    return Answers(
        samples=shared["samples"],
        truths=shared["truths"],
        reference=shared["reference"],
        variant=found,
        groups=shared.get("groups"),
    )
