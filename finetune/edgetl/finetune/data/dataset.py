"""A data set on disk: which images there are, their labels, splits and fingerprints."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np

from edgetl.errors import DataError, first_line, suggest
from edgetl.files import sha256_of
from edgetl.finetune.data.folders import scan_folders
from edgetl.finetune.data.huggingface import class_names, is_huggingface, unpacked
from edgetl.finetune.data.manifest import is_manifest, scan_manifest
from edgetl.finetune.data.splits import split_val
from edgetl.finetune.data.table import SPLIT_NAMES, Samples, TableWriter, counted, sorted_rows, stored
from edgetl.run import DataRecord, Split
from edgetl.tasks.loading import in_order
from edgetl.types import Array, Track, silent

TOGETHER = 64
"""So many files are hashed in one go: handing a thread one small file costs more than hashing it."""


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A data set on disk, its samples ordered by split, label and path (a manifest's: as listed).

    `split_from_train` names the splits that no folder or column gave.
    """

    root: Path
    labels: tuple[str, ...]
    samples: Samples
    split_from_train: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def split(self, name: Split) -> Samples:
        ends = np.cumsum(_split_counts(self.samples))
        which = SPLIT_NAMES.index(name)
        return self.samples[int(ends[which - 1]) if which else 0 : int(ends[which])]

    @property
    def headline(self) -> Split:
        """The split the headline metric is measured on: test if there is one, else val."""
        return "test" if len(self.split("test")) else "val"

    def without(self, bad: Iterable[str]) -> "Dataset":
        """The data set without the files `bad`, which it lists as skipped."""
        gone = set(bad)
        if not gone:
            return self
        left = self.samples.over(
            block.rows[np.fromiter((path not in gone for path in block.paths()), bool, len(block))]
            for block in self.samples.blocks()
        )
        return msgspec.structs.replace(self, samples=left, skipped=(*self.skipped, *sorted(gone)))

    def record(self) -> DataRecord:
        """The fingerprint is the SHA-256 of the samples' JSON, one a line, in order."""
        digest = hashlib.sha256()
        for sample in self.samples:
            digest.update(msgspec.json.encode(sample) + b"\n")
        counts = zip(SPLIT_NAMES, _split_counts(self.samples).tolist(), strict=True)
        return DataRecord(
            root=str(self.root.resolve()),
            fingerprint=digest.hexdigest(),
            counts={name: count for name, count in counts if count},
            split_from_train=self.split_from_train,
            skipped=self.skipped,
        )


def read_dataset(
    source: Path | str,
    *,
    seed: int,
    labels: Sequence[str] | None = None,
    training: bool = True,
    track: Track = silent,
) -> Dataset:
    """Reads a folder, a `.csv` or `.parquet` manifest, or a Hugging Face data set (`hf:OWNER/NAME[:CONFIG]`, or saved).

    A folder is train/val/test, train/val, train/test or one folder of class folders. A missing val is split
    from train, stratified and seeded, groups kept together. `labels` are the model's own when its head is
    kept; else the classes that have images. With `training`, each class needs two train images.
    Raises DataError, and DependencyError for a missing library.
    """
    with TableWriter() as table:
        root, names, order = _scan(source, table, track)
        samples = table.finish()
    known = tuple(labels if labels is not None else order)
    number_labels(source, samples, names, known, own_labels=labels is not None, training=training)
    fill_digests(samples, root, track)
    return divided(root, samples, known, seed=seed)


def number_labels(
    source: Path | str,
    samples: Samples,
    names: Sequence[str],
    known: tuple[str, ...],
    *,
    own_labels: bool,
    training: bool,
    what: str = "image",
) -> None:
    """Turns the numbers a scan gave its label `names` into positions in `known`, and checks that every class is there.

    `own_labels`: `known` are the model's. Raises DataError.
    """
    _check_labels(names, known)
    _relabel(samples, names, known)
    _check_counts(
        source, _class_counts(samples, len(known)), known, own_labels=own_labels, training=training, what=what
    )


def divided(root: Path, samples: Samples, labels: tuple[str, ...], *, seed: int) -> Dataset:
    """The data set of these samples in its order; a missing val is split from train."""
    from_train = () if (samples.splits == SPLIT_NAMES.index("val")).any() else ("val",)
    if from_train:
        split_val(samples, seed)
    return Dataset(root=root, labels=labels, samples=_ordered(samples, len(labels)), split_from_train=from_train)


def _scan(source: Path | str, table: TableWriter, track: Track) -> tuple[Path, tuple[str, ...], Sequence[str]]:
    """(root of the paths, the class names as the scan numbered them, these in their final order)."""
    if is_manifest(source):
        names = scan_manifest(Path(source), table)
        return Path(source).parent, names, sorted(names)
    if not is_huggingface(source):
        names = scan_folders(Path(source), table)
        return Path(source), names, sorted(names)
    root = unpacked(source, track)
    order, name_of = class_names(root)
    found = {name_of[folder]: None for folder in scan_folders(root, table)}
    return root, tuple(found), [name for name in order if name in found]


def fill_digests(samples: Samples, root: Path, track: Track = silent) -> None:
    """Writes the SHA-256 of every file into the samples' rows. Raises DataError for a file that cannot be read."""
    folder, paths = str(root), samples.paths()
    pieces = iter(lambda: [os.path.join(folder, path) for path in islice(paths, TOGETHER)], [])  # noqa: PTH118
    at = 0
    for digests in track(in_order(_hashed, pieces), "hash images", -(-len(samples) // TOGETHER)):
        rows = np.frombuffer(digests, np.uint8).reshape(-1, 32)
        samples.digests[at : at + len(rows)] = rows
        at += len(rows)


def _hashed(paths: Sequence[str]) -> bytes:
    try:
        return b"".join(bytes.fromhex(sha256_of(Path(path))) for path in paths)
    except OSError as error:
        raise DataError(f"`{error.filename}` cannot be read: {first_line(error)}", hint="check the file") from error


def _check_labels(names: Iterable[str], known: tuple[str, ...]) -> None:
    if strange := sorted(set(names) - set(known)):
        raise DataError(f"the class `{strange[0]}` is none of the weights' labels", hint=suggest(strange[0], known))


def _relabel(samples: Samples, names: Sequence[str], known: tuple[str, ...]) -> None:
    """From the numbers a scan gave its class names to the positions in `known`."""
    position = {name: i for i, name in enumerate(known)}
    final = np.array([position[name] for name in names], np.int32)
    for block in samples.blocks():
        block.labels[:] = final[block.labels]


def _check_counts(
    source: Path | str, counts: Array, known: tuple[str, ...], *, own_labels: bool, training: bool, what: str
) -> None:
    """`counts` (classes, splits): every class is in train and, for training, there are two of two samples each."""
    untrained = np.flatnonzero((counts[:, 0] == 0) & counts.any(1))
    if not own_labels and len(untrained):
        raise DataError(
            f"the class `{known[untrained[0]]}` of `{source}` has no train {what}s", hint="add some or remove it"
        )
    if not training:
        return
    trained = np.flatnonzero(counts[:, 0])
    if len(trained) < 2:
        raise DataError(f"`{source}` has one class, `{known[trained[0]]}`", hint="a classifier needs at least two")
    single = np.flatnonzero(counts[:, 0] == 1)
    if len(single):
        raise DataError(f"the class `{known[single[0]]}` has one train {what}", hint="each class needs at least two")


def _class_counts(samples: Samples, classes: int) -> Array:
    """(classes, splits)."""
    counts = np.zeros(classes * len(SPLIT_NAMES), np.int64)
    for block in samples.blocks():
        counts += np.bincount(block.labels * len(SPLIT_NAMES) + block.splits, minlength=len(counts))
    return counts.reshape(classes, len(SPLIT_NAMES))


def _split_counts(samples: Samples) -> Array:
    """(splits,)."""
    return counted(samples.splits, len(SPLIT_NAMES))


def _ordered(samples: Samples, classes: int) -> Samples:
    """By split, then label, else as they were."""
    keys = (block.splits.astype(np.int32) * classes + block.labels for block in samples.blocks())
    return samples.take(sorted_rows(stored(keys, np.dtype(np.int32)), classes * len(SPLIT_NAMES)))
