"""New images on the device: what they add to the evidence of the variants that are still in question."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from edgetl.bundle import Bundle
from edgetl.devices.answers import Answers
from edgetl.devices.drop import Evidence, pass_share
from edgetl.devices.examine import Examined, Golden, examine
from edgetl.devices.measures import measure_of
from edgetl.devices.new_samples import Decided, labelled_answers, unlabelled_changes
from edgetl.devices.profile import Profile
from edgetl.devices.statistics import error_budget
from edgetl.errors import ConfigError
from edgetl.manifest import VariantRecord
from edgetl.runtime import Session
from edgetl.tasks.labelled import Labelled
from edgetl.types import Track, Verdict


class NewData(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller brings: labelled files, a stream of them or not, and unlabelled files."""

    labelled: tuple[Labelled, ...] = ()
    sequential: bool = False
    unlabelled: tuple[Path | str, ...] = ()


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What new images are judged with.

    `stand_ins`: fp32 variants that are not judged here but might answer for torch. `questions`: so many statistical
    ones share the error budget.
    """

    bundle: Bundle
    profile: Profile
    golden: Golden
    stand_ins: tuple[VariantRecord, ...]
    questions: int


def refuse_unfit(bundle: Bundle, profile: Profile, new: NewData) -> None:
    """New images need a golden set to know the reference by, and some ways of using them fit top-1 only.

    Raises ConfigError.
    """
    if bundle.manifest.golden.kind == "none":
        raise ConfigError("a bundle without golden set cannot judge new images", hint="export it with one")
    if profile.accuracy.metric != "top1" and (new.sequential or new.unlabelled):
        what = "--sequential" if new.sequential else "--unlabelled"
        raise ConfigError(f"`{what}` decides top1, not {profile.accuracy.metric}", hint="leave it out")


def with_new(trial: Trial, examined: list[Examined], new: NewData, track: Track) -> list[Examined]:
    """Adds what the new images show to the evidence of every variant that is still in question.

    Raises DataError for an image that cannot be decoded.
    """
    open_questions = {each.variant.id: each.evidence for each in examined if each.evidence and not each.exempt}
    if not open_questions:
        return examined
    reference = _reference(trial, examined)
    if reference is None:
        note = "no fp32 variant answers as torch does here, so the new images are not used: "
        return [_noted(each, note) for each in examined]
    with ExitStack() as stack:

        def opened(variant: VariantRecord) -> Session:
            options = trial.profile.options(variant.engine) or {}
            return stack.enter_context(Session(trial.bundle, variant, options))

        torch_like = opened(reference)
        sessions = {name: opened(trial.bundle.variant(name)) for name in open_questions}
        decided = decides(open_questions, trial, unlabelled=bool(new.unlabelled)) if new.sequential else None
        labelled = labelled_answers(torch_like, sessions, new.labelled, decided, track) if new.labelled else {}
        changed = unlabelled_changes(torch_like, sessions, new.unlabelled, track) if new.unlabelled else {}
    return [_extended(each, labelled, changed, sequential=new.sequential) for each in examined]


def _reference(trial: Trial, examined: Sequence[Examined]) -> VariantRecord | None:
    """An fp32 variant whose answers are torch's, to stand in for torch on new images."""
    for each in examined:
        if each.exempt:
            return each.variant
    for variant in trial.stand_ins:
        if examine(trial.bundle, variant, trial.profile, trial.golden, None).exempt:
            return variant
    return None


def decides(evidence: Mapping[str, Evidence], trial: Trial, *, unlabelled: bool) -> Decided:
    """When a stream has decided about a variant: a verdict that stands among all questions.

    `unlabelled`: whether images without labels follow, which may give a pass too.
    """
    accuracy = trial.profile.accuracy
    alpha = error_budget(accuracy.confidence)

    def decided(name: str, answers: Answers) -> bool:
        seen = msgspec.structs.replace(
            evidence[name],
            answers=evidence[name].answers.with_new(answers),
            sequential=True,
            unlabelled=(0, 0) if unlabelled else None,
        )
        drop, classes = measure_of(accuracy).drop(seen, accuracy), _of_classes(seen, trial, alpha)
        if classes == "fail" or drop.p_above <= alpha / trial.questions:
            return True
        return classes in (None, "pass") and drop.p_within <= pass_share(seen, alpha)

    return decided


def _of_classes(seen: Evidence, trial: Trial, alpha: float) -> Verdict | None:
    """What the stream says of the bound for every class; None where the profile has none."""
    most, labels = trial.profile.accuracy.max_class_drop_points, trial.bundle.manifest.task.labels
    if most is None:
        return None
    failing, passing = alpha / trial.questions, alpha / seen.looks
    bound = measure_of(trial.profile.accuracy).class_bound
    return bound(seen.answers, most, labels, failing, share=passing, sequential=True).verdict


def _noted(examined: Examined, note: str) -> Examined:
    if examined.evidence is None:
        return examined
    evidence = msgspec.structs.replace(examined.evidence, note=examined.evidence.note + note)
    return msgspec.structs.replace(examined, evidence=evidence)


def _extended(
    examined: Examined, labelled: Mapping[str, Answers], changed: Mapping[str, tuple[int, int]], *, sequential: bool
) -> Examined:
    name, evidence = examined.variant.id, examined.evidence
    if evidence is None or examined.exempt:
        return examined
    answers, note = evidence.answers, evidence.note
    if name in labelled:
        answers = evidence.answers.with_new(labelled[name])
        added, offered = len(answers) - len(evidence.answers), len(labelled[name])
        known = f", {offered - added} were known" if added < offered else ""
        note += f"{added} new samples{known}: "
    extended = msgspec.structs.replace(
        evidence, answers=answers, note=note, unlabelled=changed.get(name), sequential=sequential
    )
    return msgspec.structs.replace(examined, evidence=extended)
