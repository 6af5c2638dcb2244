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
            raise ArtefactError(f"`{relative}` is not listed in the manifest of `{self.path}`")
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
    listed = {record.path for record in manifest.files}
    for record in manifest.files:
        inside(path, record.path)
    for variant in manifest.variants:
        absent = [name for name in (*variant.files, variant.golden) if name is not None and name not in listed]
        if absent or not variant.files:
            raise ArtefactError(f"variant `{variant.id}` of `{path}` names no listed file", hint="export it again")
    return Bundle(path, manifest)


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
