"""A bundle: the folder `export` writes and every device reads. Whole, or not a bundle."""

import zipfile
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from edgetl.errors import ArtefactError, first_line, suggest
from edgetl.files import inside, read_json, sha256_of, write_json
from edgetl.run import WeightsRecord
from edgetl.tasks import Task
from edgetl.types import Array, Option, Precision, TensorSpec

SCHEMA = "1.0"
MAJOR = 1
MAX_ARRAYS_BYTES = 2 * 2**30
"""An .npz whose arrays unpack to more is refused."""


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    size: int
    sha256: str


class TaskResult(msgspec.Struct, frozen=True, kw_only=True):
    """The task metric of a variant beside torch's, paired on the same labelled samples.

    `lost`: right in torch, wrong in the variant; `gained`: the reverse. Values are fractions of 1.
    """

    metric: str
    samples: int
    reference: float
    value: float
    lost: int
    gained: int


class VariantRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One engine × precision. `files[0]` is what the engine opens; `options` are needed to run as declared."""

    id: str
    engine: str
    precision: Precision
    files: tuple[str, ...]
    options: dict[str, Option] = {}
    golden: str | None = None
    engine_version: str
    status: Literal["verified", "failed", "unverified"]
    verdict: str
    reason: str = ""
    task_result: TaskResult | None = None


class GoldenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Which images travel: real ones from the validation split, generated ones, or none."""

    kind: Literal["validation", "synthetic", "none"]
    samples: int = 0
    encoded: tuple[str, ...] = ()
    decoder: str = ""


class SourceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Where the model comes from."""

    run: str
    strategy: str
    backbone: str
    data_fingerprint: str
    weights: WeightsRecord
    calibration: dict[str, str | int | bool]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json`: everything a device must know, and the digest of every file."""

    schema: str
    task: Task
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    variants: tuple[VariantRecord, ...]
    golden: GoldenRecord
    source: SourceRecord
    versions: dict[str, str]
    files: tuple[FileRecord, ...]


class Bundle:
    """An opened bundle: its manifest, and its files, each verified when it is asked for."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._records = {record.path: record for record in manifest.files}

    def variant(self, name: str) -> VariantRecord:
        """The variant called `name`. Raises ArtefactError with the closest name."""
        known = {variant.id: variant for variant in self.manifest.variants}
        if name not in known:
            raise ArtefactError(
                f"`{self.path}` has no variant `{name}`", hint=suggest(name, known, what="in the bundle")
            )
        return known[name]

    def file(self, relative: str) -> Path:
        """The path of a listed file whose size and SHA-256 are as the manifest says. Raises ArtefactError."""
        record = self._records.get(relative)
        if record is None:
            raise ArtefactError(f"`{relative}` is not listed in the manifest of `{self.path}`", hint="export it again")
        path = inside(self.path, relative)
        if not path.is_file():
            raise ArtefactError(f"`{path}` is missing", hint="copy or export the bundle again")
        if path.stat().st_size != record.size or sha256_of(path) != record.sha256:
            raise ArtefactError(f"`{path}` differs from the manifest", hint="copy or export the bundle again")
        return path

    def open_variant(self, variant: VariantRecord) -> Path:
        """Verifies every file of `variant` and returns the one the engine opens."""
        paths = [self.file(relative) for relative in variant.files]
        return paths[0]

    def verify(self) -> None:
        """Every listed file is as the manifest says, and labels.txt has its labels. Raises ArtefactError."""
        for relative in self._records:
            self.file(relative)
        labels = self.file("labels.txt").read_text(encoding="utf-8").splitlines()
        if tuple(labels) != self.manifest.task.labels:
            raise ArtefactError(
                f"labels.txt and the manifest of `{self.path}` name other labels", hint="export it again"
            )

    def golden(self) -> dict[str, Array]:
        """The golden set: `image` and torch's `logits`, true `labels` if known, answers under hypotheses.

        Shapes as docs/artefacts.md says. Raises ArtefactError for any other.
        """
        arrays = self.arrays("golden/samples.npz")
        count, labels = self.manifest.golden.samples, len(self.manifest.task.labels)
        shapes = {"image": (count, *self.manifest.inputs[0].shape[1:]), "logits": (count, labels), "labels": (count,)}
        shapes = {name: shape for name, shape in shapes.items() if name in arrays or name != "labels"}
        wrong = [name for name, shape in shapes.items() if name not in arrays or arrays[name].shape != shape]
        wrong += [
            name
            for name, value in arrays.items()
            if name not in shapes and value.shape != (min(len(value), count), labels)
        ]
        if wrong or count < 1 or arrays["image"].dtype != np.uint8:
            raise ArtefactError(f"the golden set of `{self.path}` is not as the manifest says", hint="export it again")
        return arrays

    def own_answers(self, variant: VariantRecord) -> Array | None:
        """The variant's logits for the golden set on the export machine. Raises ArtefactError."""
        if variant.golden is None:
            return None
        logits = self.arrays(variant.golden).get("logits")
        if logits is None or logits.shape != (self.manifest.golden.samples, len(self.manifest.task.labels)):
            raise ArtefactError(
                f"`{variant.golden}` of `{self.path}` is not as the manifest says", hint="export it again"
            )
        return logits

    def arrays(self, relative: str) -> dict[str, Array]:
        """The arrays of a listed .npz; nothing is unpickled. Raises ArtefactError."""
        return read_arrays(self.file(relative))

    def size_bytes(self, variant: VariantRecord) -> int:
        """What the files of `variant` take on disk."""
        return sum(self._records[relative].size for relative in variant.files)


def open_bundle(path: str | Path) -> Bundle:
    """Reads and checks the manifest. Raises ArtefactError when it is missing, damaged or points outside."""
    path = Path(path)
    if not (path / "manifest.json").is_file():
        what = "has no manifest.json" if path.is_dir() else "does not exist"
        raise ArtefactError(f"`{path}` {what}, so it is no bundle", hint="`edgetl export RUN -o BUNDLE` writes one")
    manifest = read_json(path / "manifest.json", Manifest, major=MAJOR)
    for record in manifest.files:
        inside(path, record.path)
    if problem := _inconsistency(manifest):
        raise ArtefactError(f"the manifest of `{path}` contradicts itself: {problem}", hint="export the bundle again")
    return Bundle(path, manifest)


def _inconsistency(manifest: Manifest) -> str | None:
    """What no export would have written, or None."""
    task, golden = manifest.task, manifest.golden
    outputs = {spec.name: spec.shape for spec in manifest.outputs}
    if any(outputs.get(name, ())[1:] != (len(task.labels),) for name in ("logits", "probabilities")):
        return f"{len(task.labels)} labels for outputs of another size"
    if [spec.shape[1:] for spec in manifest.inputs] != [(task.input.height, task.input.width, 3)]:
        return "the input tensor is not the task's"
    names = [variant.id for variant in manifest.variants]
    if not names or len(set(names)) != len(names):
        return "there must be variants, each with its own name"
    if golden.kind != "none" and not 0 <= len(golden.encoded) <= golden.samples:
        return "more encoded golden images than samples"
    return next((problem for v in manifest.variants if (problem := _variant_inconsistency(manifest, v))), None)


def _variant_inconsistency(manifest: Manifest, variant: VariantRecord) -> str | None:
    listed = {record.path for record in manifest.files}
    if not variant.files or not {*variant.files, *([variant.golden] if variant.golden else [])} <= listed:
        return f"variant `{variant.id}` names no listed file"
    result = variant.task_result
    if result and not (result.lost >= 0 <= result.gained and 0 <= result.lost + result.gained <= result.samples):
        return f"variant `{variant.id}` has impossible counts"
    return None


def file_records(root: Path) -> tuple[FileRecord, ...]:
    """A record for every file below `root`, in sorted order."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return tuple(
        FileRecord(path=path.relative_to(root).as_posix(), size=path.stat().st_size, sha256=sha256_of(path))
        for path in files
    )


def write_manifest(root: Path, manifest: Manifest) -> None:
    """The last file of a bundle."""
    write_json(root / "manifest.json", manifest)


def read_arrays(path: Path, *, limit: int = MAX_ARRAYS_BYTES) -> dict[str, Array]:
    """All arrays of an .npz file, size checked before anything is unpacked. Raises ArtefactError."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > limit:
                raise ArtefactError(f"the arrays of `{path}` are larger than {limit} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise ArtefactError(
            f"`{path}` holds no readable arrays: {first_line(error)}", hint="export it again"
        ) from error
