"""`edgetl selftest`: plants every known fault in a copy of a bundle and asks `check` whether it notices.

Where a fault is one of the export, the faulty variant's own answers are recorded too, as that export would have
done, and the hashes are right: only the answers can tell. Where it happens to a finished bundle (a stale file, a
corrupted block), the answers recorded at export stay.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from edgetl.bundle import Bundle, open_bundle
from edgetl.devices.check import check, choose, skip_reason
from edgetl.devices.profile import EngineChoice, Profile
from edgetl.devices.verdict import Report
from edgetl.errors import ArtefactError, DependencyError
from edgetl.export.planted import known_faults
from edgetl.export.planted.fault import Bench, Fault, exported, no_edit
from edgetl.export.planted.planting import copy_variant, source_graph
from edgetl.manifest import VariantRecord
from edgetl.types import Option, Track, Verdict, silent

Outcome = Literal["caught", "missed", "not applicable"]


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One fault in one variant. `by`: the layer that said no, or `fingerprint` for a hash or a recorded name."""

    fault: str
    variant: str
    outcome: Outcome
    by: str = ""
    cause: str = ""


class SelfTest(msgspec.Struct, frozen=True, kw_only=True):
    """What `selftest --json` prints.

    `clean`: the verdict without any fault, for each variant as it is and rebuilt as the faulty ones are.
    """

    bundle: str
    device: str
    verdict: Verdict
    clean: dict[str, Verdict]
    trials: tuple[Trial, ...]


def selftest(
    bundle: Bundle,
    profile: Profile,
    *,
    variants: Sequence[str] | None = None,
    faults: Sequence[str] | None = None,
    track: Track = silent,
) -> SelfTest:
    """Plants `faults` (default: every one) in each of `variants` (default: all that run here); `fail` when one is
    missed.

    Raises ArtefactError when the bundle has no fp32 graph or golden set, DependencyError when nothing runs here.
    """
    graph = source_graph(bundle)
    chosen = [v for v in choose(bundle, profile, variants) if skip_reason(v, profile) is None]
    if not chosen:
        raise DependencyError("no variant runs here", hint="install an engine, or name another `--device`")
    bundle.verify()
    report = check(bundle, profile, variants=[variant.id for variant in chosen], latency=None)
    clean = {each.id: each.verdict for each in report.variants}
    rebuilt = Fault(name="none", plant=exported(no_edit))
    for variant in chosen:
        trial = _trial(bundle, profile, graph, variant, rebuilt)
        clean[f"{variant.id}, rebuilt"] = "fail" if trial.outcome == "caught" else "pass"
    planted = [each for each in known_faults(bundle.manifest.task) if faults is None or each.name in faults]
    pairs = [(variant, fault) for variant in chosen for fault in planted]
    trials = tuple(_trial(bundle, profile, graph, *pair) for pair in track(pairs, "plant faults", len(pairs)))
    missed = any(trial.outcome == "missed" for trial in trials) or "fail" in clean.values()
    return SelfTest(
        bundle=str(bundle.path), device=profile.name, verdict="fail" if missed else "pass", clean=clean, trials=trials
    )


def _trial(bundle: Bundle, profile: Profile, graph: Path, variant: VariantRecord, fault: Fault) -> Trial:
    if not fault.applies(variant, bundle.manifest):
        return Trial(fault=fault.name, variant=variant.id, outcome="not applicable")
    with tempfile.TemporaryDirectory(prefix="edgetl-") as temporary:
        folder = Path(temporary) / "bundle"
        folder.mkdir()
        copy_variant(bundle, variant, folder)
        if fault.plant:
            fault.plant(Bench(folder=folder, graph=graph, variant=variant, manifest=bundle.manifest))
        try:
            report = _checked(folder, profile, fault)
        except ArtefactError as error:
            return Trial(
                fault=fault.name, variant=variant.id, outcome="caught", by="fingerprint",
                cause=error.message.replace(str(folder), bundle.path.name),
            )  # fmt: skip
    reasons = [reason for reason in report.variants[0].reasons if reason.verdict == "fail"]
    return Trial(
        fault=fault.name,
        variant=variant.id,
        outcome="caught" if reasons else "missed",
        by=", ".join(dict.fromkeys(reason.layer for reason in reasons)),
        cause="; ".join(reason.cause or reason.text for reason in reasons),
    )


def _checked(folder: Path, profile: Profile, fault: Fault) -> Report:
    if fault.options:
        engines = tuple(_with_options(choice, fault.options) for choice in profile.engines)
        profile = msgspec.structs.replace(profile, engines=engines)
    bundle = open_bundle(folder)
    preprocess = None
    if fault.preparation:
        preprocess = fault.preparation(bundle)
    return check(bundle, profile, latency=None, preprocess=preprocess)


def _with_options(choice: EngineChoice, options: dict[str, Option]) -> EngineChoice:
    return msgspec.structs.replace(choice, options={**choice.options, **options})
