"""A bundle: the folder `export` writes and every device reads. Whole, or not a bundle."""

import hashlib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgetl.errors import ArtefactError, first_line, suggest
from edgetl.files import decode_json, inside, read_bytes, sha256_of, write_json
from edgetl.manifest import MAJOR, FileRecord, Manifest, VariantRecord, inconsistency
from edgetl.types import Array

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

    def golden(self) -> dict[str, Array]:
        """The golden set: `image` and torch's `logits`, true `labels` if known, answers under hypotheses.

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
        count, labels = self.manifest.golden.samples, len(self.manifest.task.labels)
        shapes = {"image": (count, *self.manifest.inputs[0].shape[1:]), "logits": (count, labels), "labels": (count,)}
        shapes["digests"] = (count,)
        shapes = {name: shape for name, shape in shapes.items() if name in arrays or name in ("image", "logits")}
        wrong = [name for name, shape in shapes.items() if name not in arrays or arrays[name].shape != shape]
        wrong += [
            name
            for name, value in arrays.items()
            if name not in shapes and value.shape != (min(len(value), count), labels)
        ]
        if wrong or count < 1 or arrays["image"].dtype != np.uint8:
            raise ArtefactError(f"the golden set of `{self.path}` is not as the manifest says", hint="export it again")
        return arrays

    def probes(self) -> tuple[list[bytes], Array]:
        """The decoder's probe files and the uint8 pixels they must give, (probes, height, width, 3)."""
        record, spec = self.manifest.golden, self.manifest.task.input
        if not record.probes:
            return [], np.zeros((0, spec.height, spec.width, 3), np.uint8)
        expected = self.arrays("golden/probes.npz").get("image")
        if expected is None or expected.shape != (len(record.probes), spec.height, spec.width, 3):
            raise ArtefactError(f"the probes of `{self.path}` are not as the manifest says", hint="export it again")
        return [self.file(relative).read_bytes() for relative in record.probes], expected

    def validation(self, variant: VariantRecord) -> tuple[dict[str, Array], dict[str, Array]]:
        """Arrays of shape (samples,): `samples`, `truths`, `reference` of the split, `variant` of the variant; perhaps
        `groups`, the names of what the samples belong to.

        Raises ArtefactError when they were not recorded or do not fit.
        """
        shared = self.arrays(self.manifest.validation or "")
        own = self.arrays(variant.answers or "")
        labels = len(self.manifest.task.labels)
        parts = [shared.get(name) for name in ("samples", "truths", "reference")] + [own.get("variant")]
        whole = [part for part in parts if part is not None and part.ndim == 1 and part.dtype.kind in "iu"]
        shapes = {part.shape for part in [*whole, *([shared["groups"]] if "groups" in shared else [])]}
        if len(shapes) != 1 or len(whole) != len(parts):
            raise ArtefactError(f"the recorded answers of `{variant.id}` do not fit", hint="export it again")
        if any(part.size and not 0 <= part.min() <= part.max() < labels for part in whole[1:]):
            raise ArtefactError(f"the recorded answers of `{variant.id}` name no label", hint="export it again")
        return shared, own

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
