"""An image-folder data set: which files there are, their labels, splits and fingerprints."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np

from edgetl.errors import DataError, suggest
from edgetl.files import sha256_of
from edgetl.run import DataRecord, SampleRecord, Split
from edgetl.tasks.images import SUFFIXES
from edgetl.types import Track, silent

SPLITS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip
VAL_FRACTION = 0.2


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A data set on disk. `split_from_train` names the splits that no folder gave."""

    root: Path
    labels: tuple[str, ...]
    samples: tuple[SampleRecord, ...]
    split_from_train: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def split(self, name: Split) -> list[SampleRecord]:
        return [sample for sample in self.samples if sample.split == name]

    @property
    def headline(self) -> Split:
        """The split the headline metric is measured on: test if there is one, else val."""
        return "test" if any(sample.split == "test" for sample in self.samples) else "val"

    def without(self, bad: Iterable[str]) -> "Dataset":
        """The data set without the files `bad`, which it lists as skipped."""
        gone = set(bad)
        left = tuple(sample for sample in self.samples if sample.path not in gone)
        return msgspec.structs.replace(self, samples=left, skipped=(*self.skipped, *sorted(gone)))

    def record(self) -> DataRecord:
        digest = hashlib.sha256(msgspec.json.encode(sorted(self.samples, key=lambda sample: sample.path)))
        return DataRecord(
            root=str(self.root.resolve()),
            fingerprint=digest.hexdigest(),
            counts=dict(Counter(sample.split for sample in self.samples)),
            split_from_train=self.split_from_train,
            skipped=self.skipped,
        )


def read_dataset(
    root: Path,
    *,
    seed: int,
    labels: Sequence[str] | None = None,
    training: bool = True,
    track: Track = silent,
) -> Dataset:
    """Reads train/val/test, train/val, train/test or one folder of class folders.

    A missing val is split from train, stratified and seeded. `labels` are the model's own when its head is
    kept; else the class folders' names. With `training`, each class needs two train images.
    Raises DataError.
    """
    found = _scan(root)
    names = sorted({name for name, _, _ in found})
    known = tuple(labels) if labels is not None else tuple(names)
    _check_classes(root, found, known, own_labels=labels is not None, training=training)
    index = {name: position for position, name in enumerate(known)}
    hashes = _hashes([root / path for _, _, path in found], track)
    samples = [
        SampleRecord(path=path, label=index[name], split=split, sha256=digest)
        for (name, split, path), digest in zip(found, hashes, strict=True)
    ]
    if any(sample.split == "val" for sample in samples):
        return Dataset(root=root, labels=known, samples=tuple(samples))
    return Dataset(root=root, labels=known, samples=tuple(_split_val(samples, seed)), split_from_train=("val",))


def _scan(root: Path) -> list[tuple[str, Split, str]]:
    """(class name, split, path relative to the root) of every image, sorted by path."""
    if not root.is_dir():
        raise DataError(f"the data folder `{root}` does not exist", hint="check the path")
    folders = {path.name: path for path in sorted(root.iterdir()) if path.is_dir() and path.name[0] != "."}
    splits = {name: split for name, split in SPLITS.items() if name in folders}
    if splits and "train" not in splits.values():
        raise DataError(f"`{root}` has no folder `train`", hint=f"it has {', '.join(sorted(folders))}")
    whole: dict[str, Split] = {"": "train"}
    found = []
    for name, split in splits.items() if splits else whole.items():
        for folder in sorted(path for path in (root / name).iterdir() if path.is_dir() and path.name[0] != "."):
            images = [path for path in sorted(folder.rglob("*")) if _is_image(path)]
            if not images:
                raise DataError(f"the class folder `{folder}` holds no images", hint="remove it or fill it")
            found += [(folder.name, split, path.relative_to(root).as_posix()) for path in images]
    if not found:
        raise DataError(
            f"`{root}` holds no class folders with images",
            hint="expected is ROOT/[train|val|test/]CLASS/image.jpg",
        )
    return found


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()


def _check_classes(
    root: Path,
    found: Sequence[tuple[str, Split, str]],
    known: tuple[str, ...],
    *,
    own_labels: bool,
    training: bool,
) -> None:
    strange = sorted({name for name, _, _ in found} - set(known))
    if strange:
        raise DataError(
            f"the class folder `{strange[0]}` is none of the weights' labels", hint=suggest(strange[0], known)
        )
    trained = Counter(name for name, split, _ in found if split == "train")
    untrained = sorted({name for name, _, _ in found} - set(trained))
    if untrained and not own_labels:
        raise DataError(f"the class `{untrained[0]}` of `{root}` has no train images", hint="add some or remove it")
    if not training:
        return
    if len(trained) < 2:
        raise DataError(f"`{root}` has one class, `{next(iter(trained))}`", hint="a classifier needs at least two")
    single = [name for name, count in sorted(trained.items()) if count < 2]
    if single:
        raise DataError(f"the class `{single[0]}` has one train image", hint="each class needs at least two")


def _split_val(samples: Sequence[SampleRecord], seed: int) -> list[SampleRecord]:
    """Moves a fifth of each class from train to val, at least one image, never the last."""
    rng = np.random.default_rng(seed)
    moved: set[str] = set()
    for label in sorted({sample.label for sample in samples}):
        paths = [sample.path for sample in samples if sample.label == label and sample.split == "train"]
        count = min(len(paths) - 1, max(1, round(VAL_FRACTION * len(paths))))
        moved.update(paths[i] for i in rng.permutation(len(paths))[: max(0, count)])
    return [msgspec.structs.replace(s, split="val") if s.path in moved else s for s in samples]


def _hashes(paths: Sequence[Path], track: Track) -> list[str]:
    """SHA-256 of each file; hashing leaves the interpreter lock, so threads help."""
    with ThreadPoolExecutor(4) as pool:
        return list(track(pool.map(sha256_of, paths), "hash images", len(paths)))
