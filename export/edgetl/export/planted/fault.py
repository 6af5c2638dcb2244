"""A fault as it is planted: where, how, and for which variants it is one."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from edgetl.bundle import Bundle
from edgetl.devices.preparing import Preprocess
from edgetl.export.planted.edits import Edit
from edgetl.export.planted.planting import rebuild, renew_answers
from edgetl.machine import detect, saturates_int8
from edgetl.manifest import Manifest, VariantRecord
from edgetl.types import Option


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
    preparation: Callable[[Bundle], Preprocess] | None = None
    options: dict[str, Option] | None = None
    applies: Applies = lambda variant, manifest: True


def exported(edit: Edit) -> Plant:
    def plant(bench: Bench) -> None:
        rebuild(bench.folder, bench.graph, bench.variant.id, edit)
        renew_answers(bench.folder, bench.variant.id)

    return plant


def replaced(edit: Edit, *, per_tensor: bool = False) -> Plant:
    return lambda bench: rebuild(bench.folder, bench.graph, bench.variant.id, edit, per_tensor=per_tensor)


def of_precision(precision: str, engine: str | None = None) -> Applies:
    return lambda variant, _: variant.precision == precision and engine in (None, variant.engine)


def repeats(precision: str | None = None) -> Applies:
    """Harmless changes of a file show only against answers that this kind of processor repeats."""

    def applies(variant: VariantRecord, manifest: Manifest) -> bool:
        made, here = manifest.machine, detect()
        same = made is not None and (made.arch, made.features) == (here.arch, here.features)
        return same and not saturates_int8(here) and precision in (None, variant.precision)

    return applies


def has_two_labels(variant: VariantRecord, manifest: Manifest) -> bool:
    return len(manifest.task.labels) > 1


def no_edit(_: object) -> None:
    """The right graph: the fault lies in its conversion."""
