"""The images a training learns from, and those set aside for its choices."""

import msgspec
import numpy as np

from edgetl.errors import DataError
from edgetl.finetune.cache.pictures import Pictures, decode_once
from edgetl.finetune.data.splits import hold_out
from edgetl.finetune.data.table import Samples
from edgetl.finetune.material import Material, skip_or_raise

MIN_HELD_OUT = 50
"""Fewer images than this choose no epoch and no temperature: their noise is larger than what there is to choose."""


class Pools(msgspec.Struct, frozen=True, kw_only=True):
    """The images to learn from, and those set aside to judge by."""

    fit: Pictures
    held: Pictures | None


def pools_of(material: Material) -> tuple[Pools, tuple[str, ...]]:
    """The images to learn from, and those for choices: `val` when `test` is the headline, else a part of train."""
    dataset, fraction = material.dataset, material.loop.hold_out
    train, skipped = _decodable(material, dataset.split("train"))
    if dataset.headline == "test":
        held, more = _decodable(material, dataset.split("val"))
        enough = len(held) >= MIN_HELD_OUT
        return Pools(fit=_pictures(material, train), held=_pictures(material, held) if enough else None), (
            *skipped, *more,
        )  # fmt: skip
    if round(len(train) * fraction) < MIN_HELD_OUT:
        return Pools(fit=_pictures(material, train), held=None), skipped
    fit, held = hold_out(train, fraction, material.seed)
    return Pools(fit=_pictures(material, fit), held=_pictures(material, held)), skipped


def _decodable(material: Material, samples: Samples) -> tuple[Samples, tuple[str, ...]]:
    """Decodes the samples into the cache; those that can be, and the paths of those that cannot."""
    bad = _decode(material, samples)[1]
    skipped = skip_or_raise(bad, material.skip_bad_images)
    if not bad:
        return samples, ()
    kept = np.array([i for i, path in enumerate(samples.paths()) if path not in bad], np.int64)
    if not len(kept):
        raise DataError(f"no {samples[0].split} image can be decoded", hint="check the files")
    return samples.take(kept), skipped


def _pictures(material: Material, samples: Samples) -> Pictures:
    return _decode(material, samples)[0]


def _decode(material: Material, samples: Samples) -> tuple[Pictures, dict[str, DataError]]:
    root, spec = material.dataset.root, material.task.input
    return material.team.first(lambda: decode_once(samples, root, spec, material.cache, material.track))
