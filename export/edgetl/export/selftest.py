"""`edgetl selftest`: plants every known fault in a copy of a bundle and asks `check` whether it notices.

Where a fault is one of the export, the faulty variant's own answers are recorded too, as that export would have
done, and the hashes are right: only the answers can tell. Where it happens to a finished bundle (a stale file, a
corrupted block), the answers recorded at export stay.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from edgetl.bundle import Bundle, open_bundle
from edgetl.devices.check import check, choose, skip_reason
from edgetl.devices.layers.input import Preprocess
from edgetl.devices.preparations import Preparation, wrong_preparations
from edgetl.devices.profile import EngineChoice, Profile
from edgetl.devices.verdict import Report
from edgetl.errors import ArtefactError, DependencyError
from edgetl.export import faults
from edgetl.export.faults import Edit
from edgetl.export.planting import copy_variant, rebuild, rehash, renew_answers, source_graph
from edgetl.files import write_bytes
from edgetl.machine import detect, saturates_int8
from edgetl.manifest import Manifest, VariantRecord
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


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """Where one trial happens: a fresh one-variant bundle, and the fp32 graph to build a faulty one from."""

    folder: Path
    graph: Path
    variant: VariantRecord
    manifest: Manifest


Plant = Callable[[Bench], None]
Applies = Callable[[VariantRecord, Manifest], bool]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """How a fault is planted, in whichever way it happens; `applies` says for which variants it is one."""

    name: str
    plant: Plant | None = None
    preparation: str | None = None
    options: dict[str, Option] | None = None
    applies: Applies = lambda variant, manifest: True


def _exported(edit: Edit) -> Plant:
    def plant(bench: Bench) -> None:
        rebuild(bench.folder, bench.graph, bench.variant.id, edit)
        renew_answers(bench.folder, bench.variant.id)

    return plant


def _replaced(edit: Edit, *, per_tensor: bool = False) -> Plant:
    return lambda bench: rebuild(bench.folder, bench.graph, bench.variant.id, edit, per_tensor=per_tensor)


def _corrupted(*, hashed: bool) -> Plant:
    """One block of the largest model file, with the manifest's hash renewed or not."""

    def plant(bench: Bench) -> None:
        largest = max((bench.folder / name for name in bench.variant.files), key=lambda path: path.stat().st_size)
        if largest.suffix == ".onnx":
            faults.corrupt_file(largest)
        else:
            write_bytes(largest, faults.reverse_block(largest.read_bytes()))
        if hashed:
            rehash(bench.folder)

    return plant


def _permuted_labels(*, manifest_too: bool) -> Plant:
    def plant(bench: Bench) -> None:
        labels = bench.manifest.task.labels
        permuted = (*labels[1:], labels[0])
        write_bytes(bench.folder / "labels.txt", "".join(f"{label}\n" for label in permuted).encode())
        task = msgspec.structs.replace(bench.manifest.task, labels=permuted if manifest_too else labels)
        rehash(bench.folder, lambda manifest: msgspec.structs.replace(manifest, task=task))

    return plant


def _computed_in_bf16(bench: Bench) -> None:
    options = {**bench.variant.options, "inference_precision": "bf16"}
    variant = msgspec.structs.replace(bench.variant, options=options)
    rehash(bench.folder, lambda manifest: msgspec.structs.replace(manifest, variants=(variant,)))


def _is(precision: str, engine: str | None = None) -> Applies:
    return lambda variant, _: variant.precision == precision and engine in (None, variant.engine)


def _repeats(precision: str | None = None) -> Applies:
    """Harmless changes of a file show only against answers that this kind of processor repeats."""

    def applies(variant: VariantRecord, manifest: Manifest) -> bool:
        made, here = manifest.machine, detect()
        same = made is not None and (made.arch, made.features) == (here.arch, here.features)
        return same and not saturates_int8(here) and precision in (None, variant.precision)

    return applies


def _has_two_labels(variant: VariantRecord, manifest: Manifest) -> bool:
    return len(manifest.task.labels) > 1


def _no_edit(_: object) -> None:
    """The right graph: the fault lies in its conversion."""


def known_faults(bundle: Bundle) -> list[Fault]:
    """Every fault, in the order of the documentation."""
    task = bundle.manifest.task
    imagenet = tuple(task.mean) == (0.485, 0.456, 0.406)
    spec = task.input
    preparations = [name for name in wrong_preparations(spec) if not name.startswith(("red", "crop off"))]
    one_off = [name for name in wrong_preparations(spec) if name == "crop off by one pixel (+1, +0)"]
    bf16 = "avx512-bf16" in detect().features or "amx-bf16" in detect().features
    return [
        Fault(name="red and blue swapped", plant=_exported(faults.swap_red_and_blue)),
        Fault(
            name="mean and std of another library",
            plant=_exported(faults.mean_and_std_of_a_half if imagenet else faults.mean_and_std_of_imagenet),
        ),
        Fault(name="0–255 pixels fed as 0–1", plant=_exported(faults.pixels_not_divided)),
        *(Fault(name=f"preparation: {name}", preparation=name) for name in (*preparations, *one_off)),
        Fault(name="two outputs exchanged", plant=_exported(faults.exchange_first_outputs), applies=_has_two_labels),
        Fault(name="one class dead", plant=_exported(faults.kill_last_class)),
        Fault(name="temperature lost", plant=_exported(faults.halve_before_softmax)),
        Fault(name="weights rounded to bf16", plant=_exported(faults.round_to_bf16), applies=_is("fp32")),
        Fault(
            name="computed in bf16",
            plant=_computed_in_bf16,
            applies=lambda variant, _: bf16 and variant.precision == "fp32" and variant.engine == "openvino",
        ),
        Fault(
            name="weights quantised per tensor", plant=_replaced(_no_edit, per_tensor=True), applies=_repeats("int8")
        ),
        Fault(name="model file of another training", plant=_replaced(faults.another_head)),
        Fault(name="corrupted block, hash renewed", plant=_corrupted(hashed=True), applies=_repeats()),
        Fault(name="corrupted block", plant=_corrupted(hashed=False)),
        Fault(name="labels.txt permuted", plant=_permuted_labels(manifest_too=False), applies=_has_two_labels),
        Fault(name="labels permuted everywhere", plant=_permuted_labels(manifest_too=True), applies=_has_two_labels),
        Fault(
            name="provider falls back",
            options={"provider": "cuda"},
            applies=lambda variant, _: variant.engine == "onnxruntime" and not detect().gpus,
        ),
    ]


def selftest(
    bundle: Bundle, profile: Profile, *, variants: Sequence[str] | None = None, track: Track = silent
) -> SelfTest:
    """Plants every fault in each of `variants` (default: all that run here); `fail` when one is missed.

    Raises ArtefactError when the bundle has no fp32 graph or golden set, DependencyError when nothing runs here.
    """
    graph = source_graph(bundle)
    chosen = [v for v in choose(bundle, profile, variants) if skip_reason(v, profile) is None]
    if not chosen:
        raise DependencyError("no variant runs here", hint="install an engine, or name another `--device`")
    bundle.verify()
    report = check(bundle, profile, variants=[variant.id for variant in chosen], latency=None)
    clean = {each.id: each.verdict for each in report.variants}
    rebuilt = Fault(name="none", plant=_exported(_no_edit))
    for variant in chosen:
        trial = _trial(bundle, profile, graph, variant, rebuilt)
        clean[f"{variant.id}, rebuilt"] = "fail" if trial.outcome == "caught" else "pass"
    pairs = [(variant, fault) for variant in chosen for fault in known_faults(bundle)]
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
        preprocess = _all_of(wrong_preparations(bundle.manifest.task.input)[fault.preparation])
    return check(bundle, profile, latency=None, preprocess=preprocess)


def _with_options(choice: EngineChoice, options: dict[str, Option]) -> EngineChoice:
    return msgspec.structs.replace(choice, options={**choice.options, **options})


def _all_of(make: Preparation) -> Preprocess:
    return lambda encoded: np.stack([make(content) for content in encoded])
