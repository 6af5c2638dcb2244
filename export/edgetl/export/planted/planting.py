"""Puts a faulty variant into a copy of a bundle, hashes and all, so that only its answers can tell."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import onnx

from edgetl.bundle import Bundle, file_records, open_bundle, write_manifest
from edgetl.devices.examine import answer
from edgetl.errors import ArtefactError
from edgetl.export.planted.edits import Edit
from edgetl.export.quantisation.statistics import Statistics
from edgetl.export.targets import Calibration, load_target
from edgetl.files import write_via
from edgetl.manifest import Manifest, Quantisation, VariantRecord
from edgetl.runtime import Session

SOURCE = "onnxruntime-fp32"
CALIBRATION = 40
"""So many golden images calibrate a faulty int8 variant."""


def source_graph(bundle: Bundle) -> Path:
    """The fp32 graph that faults are planted in. Raises ArtefactError when the bundle has none."""
    variants = [variant for variant in bundle.manifest.variants if variant.id == SOURCE]
    if not variants or bundle.manifest.golden.kind == "none":
        raise ArtefactError(
            f"`{bundle.path}` lacks the variant `{SOURCE}` or a golden set, so no fault can be planted",
            hint=f"export with `--variants {SOURCE},…` and a golden set",
        )
    return bundle.open_variant(variants[0])


def copy_variant(bundle: Bundle, variant: VariantRecord, folder: Path) -> None:
    """Writes a bundle with that one variant into the new `folder`."""
    others = tuple(f"{v.id}/" for v in bundle.manifest.variants if v.id != variant.id)
    files = tuple(record for record in bundle.manifest.files if not record.path.startswith(others))
    for record in files:
        (folder / record.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.file(record.path), folder / record.path)
    write_manifest(folder, msgspec.structs.replace(bundle.manifest, variants=(variant,), files=files))


def rebuild(folder: Path, graph: Path, variant: str, edit: Edit, *, per_tensor: bool = False) -> None:
    """Converts `variant` of the bundle `folder` again, from `graph` after `edit`, and renews the hashes."""
    bundle = open_bundle(folder)
    record = bundle.variant(variant)
    model = onnx.load(graph)
    edit(model)
    faulty = folder / "planted.onnx"
    onnx.save(model, faulty)
    inputs = bundle.golden_inputs().first(CALIBRATION)
    with closing(Statistics(faulty, inputs)) as statistics:
        calibration = Calibration(
            statistics=statistics, quantisation=Quantisation(samples=len(inputs)), per_tensor=per_tensor
        )
        load_target(record.engine).convert(faulty, folder / variant, record.precision, calibration)
    faulty.unlink()
    rehash(folder)


def renew_answers(folder: Path, variant: str) -> None:
    """Records the faulty variant's own golden answers, as an exporter with that fault would have."""
    bundle = open_bundle(folder)
    record = bundle.variant(variant)
    if record.golden is None:
        return
    with Session(bundle, record, {}) as session:
        outputs = answer(session, bundle.golden_inputs())
    own = {name: outputs[name] for name in bundle.manifest.task.compared}
    write_via(folder / record.golden, lambda stream: np.savez_compressed(stream, **own))  # type: ignore[arg-type]
    rehash(folder)


def rehash(folder: Path, change: Callable[[Manifest], Manifest] = lambda manifest: manifest) -> None:
    """Writes the manifest again for the files as they are, after `change`."""
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)
    listed = {record.path for record in manifest.files}
    files = tuple(record for record in file_records(folder) if record.path in listed)
    write_manifest(folder, change(msgspec.structs.replace(manifest, files=files)))
