"""A bundle: the folder `export` writes and every device reads. Whole, or not a bundle."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgetl.errors import ArtefactError, first_line, suggest
from edgetl.files import decode_json, inside, read_bytes, sha256_of, write_json
from edgetl.manifest import MAJOR, FileRecord, Manifest, VariantRecord, inconsistency
from edgetl.tasks.inputs import Inputs
from edgetl.tasks.preparation import Preparation
from edgetl.types import Array, Feeds, TensorSpec

if TYPE_CHECKING:
    from edgetl.signature import Signer

MAX_ARRAYS_BYTES = 2 * 2**30
"""An .npz whose arrays unpack to more is refused."""


class Bundle:
    """An opened bundle: its manifest, and its files, each verified when it is asked for.

    `signer`: who signed the manifest, None where no signature was asked for. `digest`: the SHA-256 of the manifest,
    which lists every file with its own; empty before it was written.
    """

    def __init__(self, path: Path, manifest: Manifest, signer: "Signer | None" = None, digest: str = "") -> None:
        self.path = path
        self.manifest = manifest
        self.signer = signer
        self.digest = digest
        self._records = {record.path: record for record in manifest.files}
        self._verified: dict[str, tuple[int, ...]] = {}
        self._golden: dict[str, Array] | None = None
        self._preparation: Preparation | None = None

    def variant(self, name: str) -> VariantRecord:
        """The variant called `name`. Raises ArtefactError with the closest name."""
        known = {variant.id: variant for variant in self.manifest.variants}
        if name not in known:
            raise ArtefactError(
                f"`{self.path}` has no variant `{name}`", hint=suggest(name, known, what="in the bundle")
            )
        return known[name]

    def file(self, relative: str) -> Path:
        """The path of a listed file whose size and SHA-256 are as the manifest says. Raises ArtefactError.

        A file is hashed once, and again when it is another one, or its size or a time of change differ; the kernel's
        time of change cannot be set back as the other can.
        """
        record = self._records.get(relative)
        if record is None:
            raise ArtefactError(f"`{relative}` is not listed in the manifest of `{self.path}`", hint="export it again")
        path = inside(self.path, relative)
        if not path.is_file():
            raise ArtefactError(f"`{path}` is missing", hint="copy or export the bundle again")
        found = path.stat()
        state = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        if self._verified.get(relative) == state:
            return path
        if found.st_size != record.size or sha256_of(path) != record.sha256:
            raise ArtefactError(f"`{path}` differs from the manifest", hint="copy or export the bundle again")
        self._verified[relative] = state
        return path

    def open_variant(self, variant: VariantRecord) -> Path:
        """Verifies every file of `variant` and returns the one the engine opens."""
        paths = [self.file(relative) for relative in variant.files]
        return paths[0]

    def verify(self) -> None:
        """Every listed file is as the manifest says, and labels.txt has its labels. Raises ArtefactError."""
        for relative in self._records:
            self.file(relative)
        labels = self.file("labels.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
        if tuple(labels) != self.manifest.task.labels:
            raise ArtefactError(
                f"labels.txt and the manifest of `{self.path}` name other labels", hint="export it again"
            )

    @property
    def preparation(self) -> Preparation:
        """How samples become the graph's inputs. Raises ArtefactError, DependencyError."""
        if self._preparation is None:
            self._preparation = self.manifest.task.preparation(self.file)
        return self._preparation

    def golden(self) -> dict[str, Array]:
        """The golden set: the graph's inputs and torch's answers, true `labels` if known, answers under hypotheses.

        Shapes as docs/artefacts.md says; read once. Raises ArtefactError for any other.
        """
        if self._golden is None:
            self._golden = self._read_golden()
        return self._golden

    def _read_golden(self) -> dict[str, Array]:
        arrays = self.arrays("golden/samples.npz")
        names = arrays.pop("names", None)
        if names is not None and tuple(names.tolist()) != self.manifest.task.labels:
            raise ArtefactError(
                f"the golden set of `{self.path}` was made for labels in another order than the manifest's",
                hint="the labels were edited; export the bundle again",
            )
        if self.manifest.golden.samples < 1 or not self._golden_fits(arrays):
            raise ArtefactError(f"the golden set of `{self.path}` is not as the manifest says", hint="export it again")
        return arrays

    def _golden_fits(self, arrays: Mapping[str, Array]) -> bool:
        """Inputs and answers as the manifest declares them; an answer `NAME under …` is one to the first samples."""
        manifest, count = self.manifest, self.manifest.golden.samples
        answers = {spec.name: spec for spec in manifest.outputs if spec.name in manifest.task.compared}
        declared = {spec.name: spec for spec in manifest.inputs} | answers
        if not declared.keys() <= arrays.keys():
            return False
        for name, value in arrays.items():
            spec = declared.get(name) or answers.get(name.partition(" under ")[0])
            rows = count if name in declared or spec is None else min(len(value), count)
            if not (_is(value, spec, rows) if spec else name == "labels" or value.shape == (count,)):
                return False
        return "labels" not in arrays or self._unpacks(arrays["labels"], count)

    def _unpacks(self, array: Array, samples: int) -> bool:
        try:
            self.manifest.task.unpacked(array, samples)
        except ValueError:
            return False
        return True

    def golden_inputs(self) -> Inputs:
        """The graph's inputs for the golden set."""
        golden = self.golden()
        return Inputs(feeds={spec.name: golden[spec.name] for spec in self.manifest.inputs}, task=self.manifest.task)

    def probes(self) -> tuple[list[bytes], Feeds]:
        """Generated samples that test the reading of samples, and the inputs they must give; empty without any."""
        paths = self.manifest.golden.probes
        if not paths:
            return [], {}
        expected = self.arrays("golden/probes.npz")
        specs = self.manifest.inputs
        if any(spec.name not in expected or not _is(expected[spec.name], spec, len(paths)) for spec in specs):
            raise ArtefactError(f"the probes of `{self.path}` are not as the manifest says", hint="export it again")
        return [self.file(relative).read_bytes() for relative in paths], expected

    def validation(self, variant: VariantRecord) -> tuple[dict[str, Array], Array]:
        """Arrays of shape (samples,): `samples`, `truths`, `reference` of the split, perhaps `groups`, the names of
        what the samples belong to; and what the variant found.

        Raises ArtefactError when they were not recorded or do not fit.
        """
        shared, own = self.arrays(self.manifest.validation or ""), self.arrays(variant.answers or "")
        task, samples = self.manifest.task, shared.get("samples", np.zeros(()))
        try:
            if (
                samples.ndim != 1
                or samples.dtype.kind not in "iu"
                or shared.get("groups", samples).shape != samples.shape
            ):
                raise ValueError("do not fit")
            truths, reference = (task.unpacked(shared[name], len(samples)) for name in ("truths", "reference"))
            found = task.unpacked(own["variant"], len(samples))
        except (KeyError, ValueError) as error:
            raise ArtefactError(
                f"the recorded answers of `{variant.id}` do not fit: {error}", hint="export it again"
            ) from error
        return {**shared, "truths": truths, "reference": reference}, found

    def own_answers(self, variant: VariantRecord) -> dict[str, Array] | None:
        """The variant's answers to the golden set on the export machine. Raises ArtefactError."""
        if variant.golden is None:
            return None
        arrays, specs = self.arrays(variant.golden), {spec.name: spec for spec in self.manifest.outputs}
        compared, count = self.manifest.task.compared, self.manifest.golden.samples
        if any(name not in arrays or not _is(arrays[name], specs[name], count) for name in compared):
            raise ArtefactError(
                f"`{variant.golden}` of `{self.path}` is not as the manifest says", hint="export it again"
            )
        return {name: arrays[name] for name in compared}

    def arrays(self, relative: str) -> dict[str, Array]:
        """The arrays of a listed .npz; nothing is unpickled. Raises ArtefactError."""
        return read_arrays(self.file(relative))

    def size_bytes(self, variant: VariantRecord) -> int:
        """What the files of `variant` take on disk."""
        return sum(self._records[relative].size for relative in variant.files)


def _is(value: Array, spec: TensorSpec, rows: int) -> bool:
    """Whether `value` is `rows` samples of `spec`; an axis with a name may have any length, answers any float type."""
    floats = value.dtype.kind == np.dtype(spec.dtype).kind == "f"
    pairs = list(zip(value.shape[1:], spec.shape[1:], strict=False))
    return (
        value.ndim == len(spec.shape)
        and len(value) == rows
        and (floats or value.dtype.name == spec.dtype)
        and all(isinstance(wanted, str) or have == wanted for have, wanted in pairs)
    )


def open_bundle(
    path: str | Path,
    *,
    digest: str = "",
    allowed_signers: Path | None = None,
    identity: str | None = None,
    revoked: Path | None = None,
) -> Bundle:
    """Reads and checks the manifest. Raises ArtefactError when it is missing, damaged or points outside.

    With `digest` it must be the very manifest that another process opened (`Bundle.digest`).
    With `allowed_signers`, a file of OpenSSH's ALLOWED SIGNERS format, the manifest must be signed by one of them, by
    `identity` if it is given, with a key that `revoked` does not list; `Bundle.signer` says who it was. Raises as
    `edgetl.signature.verified_manifest` too.
    """
    path = Path(path)
    signer: Signer | None = None
    if allowed_signers is None:
        raw = manifest_bytes(path)
    else:
        from edgetl.signature import verified_manifest  # starts programs: only who asks for a signature imports that

        raw, signer = verified_manifest(path, allowed_signers, identity=identity, revoked=revoked)
    bundle = decoded_bundle(path, raw, signer)
    if digest and bundle.digest != digest:
        raise ArtefactError(f"`{path}` was changed while it was measured", hint="run the command again")
    return bundle


def manifest_bytes(path: Path) -> bytes:
    """The content of `manifest.json` in the bundle `path`. Raises ArtefactError when there is none."""
    place = path / "manifest.json"
    if not place.is_file():
        what = "has no manifest.json" if path.is_dir() else "does not exist"
        raise ArtefactError(f"`{path}` {what}, so it is no bundle", hint="`edgetl export RUN -o BUNDLE` writes one")
    return read_bytes(place, ArtefactError)


def decoded_bundle(path: Path, raw: bytes, signer: "Signer | None" = None) -> Bundle:
    """The bundle `path` with `raw` as its manifest. Raises ArtefactError when that is damaged or points outside."""
    manifest = decode_json(raw, path / "manifest.json", Manifest, major=MAJOR)
    for record in manifest.files:
        inside(path, record.path)
    if problem := inconsistency(manifest):
        raise ArtefactError(f"the manifest of `{path}` contradicts itself: {problem}", hint="export the bundle again")
    return Bundle(path, manifest, signer, hashlib.sha256(raw).hexdigest())


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
