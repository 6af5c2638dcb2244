"""Which split a folder's or file's name means."""

import re

from edgetl.run import Split

NAMES: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip


def split_named(name: str) -> Split | None:
    """`train2017`, `instances_val` or `valid` as a split; None for any other name."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((NAMES[word] for word in words if word in NAMES), None)
