"""Faults that any graph may have: what happens to weights, files and labels, whatever the task."""

import msgspec

from edgetl.export.planted import edits
from edgetl.export.planted.fault import (
    Bench,
    Fault,
    Plant,
    exported,
    has_two_labels,
    no_edit,
    of_precision,
    repeats,
    replaced,
)
from edgetl.export.planted.planting import rehash
from edgetl.files import write_bytes
from edgetl.machine import detect


def in_any_graph() -> list[Fault]:
    """Faults of weights, of their arithmetic and of files."""
    bf16 = "avx512-bf16" in detect().features or "amx-bf16" in detect().features
    return [
        Fault(name="weights rounded to bf16", plant=exported(edits.round_to_bf16), applies=of_precision("fp32")),
        Fault(
            name="computed in bf16",
            plant=_computed_in_bf16,
            applies=lambda variant, _: bf16 and variant.precision == "fp32" and variant.engine == "openvino",
        ),
        Fault(name="weights quantised per tensor", plant=replaced(no_edit, per_tensor=True), applies=repeats("int8")),
        Fault(name="corrupted block, hash renewed", plant=_corrupted(hashed=True), applies=repeats()),
        Fault(name="corrupted block", plant=_corrupted(hashed=False)),
        Fault(name="labels.txt permuted", plant=_permuted_labels(manifest_too=False), applies=has_two_labels),
        Fault(name="labels permuted everywhere", plant=_permuted_labels(manifest_too=True), applies=has_two_labels),
        Fault(
            name="provider falls back",
            options={"provider": "cuda"},
            applies=lambda variant, _: variant.engine == "onnxruntime" and not detect().gpus,
        ),
    ]


def in_any_classifier() -> list[Fault]:
    """Faults of logits, and of what becomes of them."""
    return [
        Fault(name="two outputs exchanged", plant=exported(edits.exchange_first_outputs), applies=has_two_labels),
        Fault(name="one class dead", plant=exported(edits.kill_last_class)),
        Fault(name="temperature lost", plant=exported(edits.halve_before_softmax)),
        Fault(name="model file of another training", plant=replaced(edits.another_head)),
    ]


def _corrupted(*, hashed: bool) -> Plant:
    """One block of the largest model file, with the manifest's hash renewed or not."""

    def plant(bench: Bench) -> None:
        largest = max((bench.folder / name for name in bench.variant.files), key=lambda path: path.stat().st_size)
        if largest.suffix == ".onnx":
            edits.corrupt_file(largest)
        else:
            write_bytes(largest, edits.reverse_block(largest.read_bytes()))
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
