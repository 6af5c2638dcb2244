"""Photos with boxes as a data set to learn from: splits, fingerprints, and the boxes of every photo."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgetl.errors import DataError
from edgetl.finetune.data.dataset import Dataset, fill_digests
from edgetl.finetune.data.splits import split_val
from edgetl.finetune.data.table import SPLIT_NAMES, Samples, TableWriter, sorted_rows
from edgetl.run import BoxRecord
from edgetl.tasks.boxed import BoxedPhoto, read_photos
from edgetl.tasks.images import ImageInput
from edgetl.types import Track, silent

STRIDE = 32
"""Sides of the input are multiples of the coarsest stride of the usual backbones."""


class BoxedDataset(msgspec.Struct, frozen=True, kw_only=True):
    """A data set with the photos (size and boxes) of its paths, and what there is to say about them."""

    dataset: Dataset
    photos: dict[str, BoxedPhoto]
    notes: tuple[str, ...] = ()

    def boxes(self, samples: Samples) -> list[tuple[BoxRecord, ...]]:
        """The objects of each sample, in order."""
        return [self.photos[path].boxes for path in samples.paths()]

    def sizes(self, samples: Samples) -> list[tuple[int, int]]:
        """Width and height of each sample's photo, in order."""
        return [self.photos[path].size for path in samples.paths()]

    def fingerprint(self) -> str:
        """SHA-256 of all boxes, in the samples' order."""
        return hashlib.sha256(msgspec.json.encode(self.boxes(self.dataset.samples))).hexdigest()

    def without(self, bad: Sequence[str]) -> "BoxedDataset":
        return msgspec.structs.replace(self, dataset=self.dataset.without(bad))


def read_boxed_dataset(
    source: Path, *, seed: int, format: str, skip_bad_boxes: bool, labels: tuple[str, ...] | None, track: Track = silent
) -> BoxedDataset:
    """Reads the folder; a missing val is split from train, stratified by the most frequent class of each photo.

    `labels`: a model's own, where it is kept. Raises DataError, ConfigError.
    """
    found = read_photos(source, format=format, skip_bad_boxes=skip_bad_boxes, labels=labels)
    with TableWriter() as table:
        for photo in sorted(found.photos, key=lambda photo: photo.path):
            table.append(photo.path, most_frequent(photo.boxes), SPLIT_NAMES.index(photo.split or "train"))
        samples = table.finish()
    if not (samples.splits == SPLIT_NAMES.index("train")).any():
        raise DataError(f"`{source}` has no train photos", hint="a split is called train, val or test")
    fill_digests(samples, source, track)
    from_train = () if (samples.splits == SPLIT_NAMES.index("val")).any() else ("val",)
    if from_train:
        split_val(samples, seed)
    keys = samples.splits.astype(np.int32) * len(found.labels) + samples.labels
    ordered = samples.take(sorted_rows(keys, len(SPLIT_NAMES) * len(found.labels)))
    dataset = Dataset(root=source, labels=found.labels, samples=ordered, split_from_train=from_train)
    boxed = BoxedDataset(dataset=dataset, photos={each.path: each for each in found.photos}, notes=found.notes)
    if labels is None:
        _check_classes(boxed)
    return boxed


def most_frequent(boxes: Sequence[BoxRecord]) -> int:
    """The class of most of the boxes, the first of equal ones; 0 where there is none."""
    counts = Counter(box.label for box in boxes)
    return min(counts, key=lambda label: (-counts[label], label)) if counts else 0


def _check_classes(boxed: BoxedDataset) -> None:
    """Every class must have a box to learn from."""
    train = boxed.dataset.split("train")
    learned = {box.label for boxes in boxed.boxes(train) for box in boxes if not box.ignored}
    if missing := [name for label, name in enumerate(boxed.dataset.labels) if label not in learned]:
        hint = "add some, or remove the class; crowds and difficult objects teach nothing"
        raise DataError(f"the class `{missing[0]}` has no train boxes", hint=hint)


def input_of(sizes: Sequence[tuple[int, int]], side: int) -> ImageInput:
    """A letterbox whose longer side is `side` pixels and whose shorter follows the photos' middle proportions.

    Bars around photos that are all wide would cost a quarter of every computation. Both are multiples of 32.
    """
    ratio = float(np.median([width / height for width, height in sizes]))
    longer = max(STRIDE, round(side / STRIDE) * STRIDE)
    shorter = min(longer, max(STRIDE, -(-round(longer * min(ratio, 1 / ratio)) // STRIDE) * STRIDE))
    height, width = (shorter, longer) if ratio > 1 else (longer, shorter)
    return ImageInput(height=height, width=width, resize=longer, mode="letterbox")
