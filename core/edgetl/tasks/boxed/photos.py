"""What is read of photos with boxes: first as written, then checked."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgetl.run import BoxRecord, Split
from edgetl.tasks.detections import Found


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An object as a file lists it: its class by name, left, top, right, bottom in pixels (or in parts of the photo's
    sides, with `relative`), and `where` it stands, for messages.
    """

    name: str
    box: tuple[float, float, float, float]
    where: str
    ignored: bool = False
    relative: bool = False


class ListedPhoto(msgspec.Struct, frozen=True, kw_only=True):
    """A photo as a file lists it; `size`: its width and height, where the file says them."""

    path: Path
    where: str
    objects: Sequence[Listed] = ()
    split: Split | None = None
    size: tuple[int, int] | None = None


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A data set as its files list it, with the class names in their order."""

    names: tuple[str, ...]
    photos: Sequence[ListedPhoto]
    layout: str


class BoxedPhoto(msgspec.Struct, frozen=True, kw_only=True):
    """A photo with its objects, in pixels of the upright photo. `path` is relative to the root, `size` (width, height).

    `split` is None where the data set has no splits.
    """

    path: str
    size: tuple[int, int]
    boxes: tuple[BoxRecord, ...]
    split: Split | None = None


class BoxedPhotos(msgspec.Struct, frozen=True, kw_only=True):
    """A data set of photos with boxes. `layout`: how it lies on disk; `notes`: what was mended or left out."""

    root: Path
    labels: tuple[str, ...]
    photos: tuple[BoxedPhoto, ...]
    layout: str
    notes: tuple[str, ...] = ()

    @property
    def judged(self) -> tuple[BoxedPhoto, ...]:
        """The photos to judge a finished model by: those of test, else of val, else all."""
        splits: tuple[Split, ...] = ("test", "val")
        for split in splits:
            if found := tuple(photo for photo in self.photos if photo.split == split):
                return found
        return self.photos


def truths(boxes: Sequence[BoxRecord]) -> Found:
    """Recorded objects as arrays; a score of 0 says that one is to be ignored."""
    return Found(
        boxes=np.array([[each.left, each.top, each.right, each.bottom] for each in boxes], np.float64).reshape(-1, 4),
        scores=np.array([0.0 if each.ignored else 1.0 for each in boxes], np.float64),
        classes=np.array([each.label for each in boxes], np.int64),
    )
