"""Whether the splits share images: equal files, images that look alike, groups on two sides, contradicting labels."""

from collections.abc import Iterator

import msgspec
import numpy as np

from edgetl.finetune.data.dataset import Dataset
from edgetl.finetune.data.looks import MAX_DISTANCE, Nearest, looks_of, nearest
from edgetl.finetune.data.table import BLOCK, SPLIT_NAMES, Samples, stored
from edgetl.types import Array, Track, silent

EXAMPLES = 10
"""So many pairs of each kind are named."""

SHOWN = 3
"""So many of them stand in a sentence."""

PAIRS = ((1, 0), (2, 0), (2, 1))
"""(the split that is judged, the split it must not share images with), as indices into SPLIT_NAMES."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two images; `distance` is how many of 64 bits of their perceptual hashes differ, 0 for equal files."""

    first: str
    second: str
    first_split: str
    second_split: str
    distance: int = 0


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """`images` of `split` have a counterpart in `other`."""

    split: str
    other: str
    images: int
    examples: tuple[Pair, ...]


class SharedGroups(msgspec.Struct, frozen=True, kw_only=True):
    """`groups` stand in both splits; with `images` of `split`."""

    split: str
    other: str
    groups: int
    images: int
    examples: tuple[str, ...]


class Leakage(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `near_searched` is false when there were more than `limit` images.

    `contradicting` counts images whose content also stands under another label. `what`: what an "image" is called.
    """

    images: int
    limit: int
    near_searched: bool
    exact: tuple[Overlap, ...] = ()
    near: tuple[Overlap, ...] = ()
    groups: tuple[SharedGroups, ...] = ()
    contradicting: int = 0
    contradictions: tuple[Pair, ...] = ()
    what: str = "image"

    def lines(self) -> list[str]:
        """One sentence for each finding, for the user."""
        said = [
            f"{_many_of(o.images, o.split, self.what)} also in {o.other} ({_shown(o.examples, '=')})"
            for o in self.exact
        ]
        said += [
            f"{_many_of(o.images, o.split, self.what)} nearly the same as {self.what}s of {o.other} "
            f"({_shown(o.examples, '~')})"
            for o in self.near
        ]
        for shared in self.groups:
            names = ", ".join(f"`{name}`" for name in shared.examples[:SHOWN])
            noun = "group stands" if shared.groups == 1 else "groups stand"
            said.append(
                f"{shared.groups:,} {noun} in both {shared.split} and {shared.other} ({names}), "
                f"with {shared.images:,} {self.what}s of {shared.split}"
            )
        if self.contradicting:
            pairs = _shown(self.contradictions, "=")
            said.append(f"{_many(self.contradicting, self.what)} also under another label ({pairs})")
        if not self.near_searched:
            said.append(f"near duplicates were not searched: {self.images:,} {self.what}s are more than {self.limit:,}")
        return said


def _many(images: int, what: str) -> str:
    return f"1 {what} is" if images == 1 else f"{images:,} {what}s are"


def _many_of(images: int, split: str, what: str) -> str:
    return f"1 {what} of {split} is" if images == 1 else f"{images:,} {what}s of {split} are"


def _shown(pairs: tuple[Pair, ...], sign: str) -> str:
    return ", ".join(f"`{pair.first}` {sign} `{pair.second}`" for pair in pairs[:SHOWN])


def find_leaks(dataset: Dataset, track: Track = silent, limit: int = 50_000) -> Leakage:
    """Looks for images that stand in two splits, or under two labels.

    Above `limit` images only equal files are looked for: a look at every image costs about 2 ms.
    """
    samples = dataset.samples
    twins = _Twins(samples)
    searched = len(samples) <= limit
    near = tuple(_near(dataset, twins, track)) if searched else ()
    return msgspec.structs.replace(_equal(samples, twins), limit=limit, near_searched=searched, near=near)


def find_equal(samples: Samples, what: str) -> Leakage:
    """What `find_leaks` finds without looking at anything but contents, labels and groups; `what`: a word for one."""
    return msgspec.structs.replace(_equal(samples, _Twins(samples)), what=what)


def _equal(samples: Samples, twins: "_Twins") -> Leakage:
    return Leakage(
        images=len(samples),
        limit=0,
        near_searched=True,
        exact=tuple(found for pair in PAIRS if (found := twins.overlap(*pair)).images),
        groups=tuple(_shared_groups(samples)),
        contradicting=twins.contradicting,
        contradictions=twins.contradictions,
    )


class _Twins:
    """The contents that occur more than once: in which splits, under which labels.

    A content is known by 64 bits of its SHA-256: among a million images two agree by chance once in 10⁷ data sets.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        keys = stored((_content(block) for block in samples.blocks()), np.dtype(np.uint64))
        keys.sort()
        self._repeated = np.unique(keys[1:][keys[1:] == keys[:-1]])
        self._first = np.full((len(self._repeated), len(SPLIT_NAMES)), len(samples), np.int64)
        self._mixed = np.zeros(len(self._repeated), bool)
        self._look()
        self.contradicting, self.contradictions = self._contradictions()

    def contents(self) -> Iterator[tuple[int, Array, Array]]:
        """(row of the block's start, rows in the block of repeated contents, which content)."""
        for i, block in enumerate(self.samples.blocks()):
            content = _content(block)
            at = np.searchsorted(self._repeated, content).clip(max=max(0, len(self._repeated) - 1))
            rows = np.flatnonzero(self._repeated[at] == content) if len(self._repeated) else np.zeros(0, np.int64)
            yield i * BLOCK, rows, at[rows]

    def _look(self) -> None:
        for start, rows, which in self.contents():
            np.minimum.at(self._first, (which, self.samples.splits[start + rows]), start + rows)
        label = self.samples.labels[self._first.min(1)]
        for start, rows, which in self.contents():
            self._mixed[which[self.samples.labels[start + rows] != label[which]]] = True

    def in_split(self, split: int) -> Array:
        """(repeated contents,) whether each stands in the split."""
        return self._first[:, split] < len(self.samples)

    def overlap(self, split: int, other: int) -> Overlap:
        both = self.in_split(split) & self.in_split(other)
        images = self._count(both, split)
        pairs = [(self._first[at, split], self._first[at, other]) for at in np.flatnonzero(both)]
        examples = tuple(_pair(self.samples, int(a), int(b)) for a, b in sorted(pairs)[:EXAMPLES])
        return Overlap(split=SPLIT_NAMES[split], other=SPLIT_NAMES[other], images=images, examples=examples)

    def shared(self, split: int, other: int) -> set[int]:
        """Rows of `split` whose content is also in `other`."""
        both = self.in_split(split) & self.in_split(other)
        found = (start + rows[both[which]] for start, rows, which in self.contents())
        return {row for rows in found for row in rows[self.samples.splits[rows] == split].tolist()}

    def _count(self, contents: Array, split: int) -> int:
        total = 0
        for start, rows, which in self.contents():
            total += int((contents[which] & (self.samples.splits[start + rows] == split)).sum())
        return total

    def _contradictions(self) -> tuple[int, tuple[Pair, ...]]:
        total = 0
        firsts: dict[int, int] = {}
        pairs: list[Pair] = []
        labels = self.samples.labels
        for start, rows, which in self.contents():
            mixed = self._mixed[which]
            total += int(mixed.sum())
            if len(pairs) == EXAMPLES:
                continue
            for row, content in zip((start + rows[mixed]).tolist(), which[mixed].tolist(), strict=True):
                first = firsts.setdefault(content, row)
                if labels[first] != labels[row] and len(pairs) < EXAMPLES:
                    pairs.append(_pair(self.samples, first, row))
        return total, tuple(pairs)


def _content(samples: Samples) -> Array:
    return np.ascontiguousarray(samples.digests[:, :8]).view(np.uint64)[:, 0]


def _pair(samples: Samples, first: int, second: int, distance: int = 0) -> Pair:
    a, b = samples[first], samples[second]
    return Pair(first=a.path, second=b.path, first_split=a.split, second_split=b.split, distance=distance)


def _near(dataset: Dataset, twins: _Twins, track: Track) -> Iterator[Overlap]:
    samples = dataset.samples
    looks, known = looks_of(samples, dataset.root, track)
    for split, other in PAIRS:
        judged = np.flatnonzero(known & (samples.splits == split))
        against = np.flatnonzero(known & (samples.splits == other))
        found: Nearest = nearest(looks[judged], looks[against])
        equal = twins.shared(split, other)
        near = [i for i in np.flatnonzero(found.distance <= MAX_DISTANCE).tolist() if int(judged[i]) not in equal]
        if near:
            closest = sorted(near, key=lambda i: int(found.distance[i]))[:EXAMPLES]
            yield Overlap(
                split=SPLIT_NAMES[split],
                other=SPLIT_NAMES[other],
                images=len(near),
                examples=tuple(
                    _pair(samples, int(judged[i]), int(against[found.partner[i]]), int(found.distance[i]))
                    for i in closest
                ),
            )


def _shared_groups(samples: Samples) -> Iterator[SharedGroups]:
    counts = np.zeros((len(samples.group_names), len(SPLIT_NAMES)), np.int64)
    for block in samples.blocks():
        grouped = block.groups >= 0
        np.add.at(counts, (block.groups[grouped], block.splits[grouped]), 1)
    for split, other in PAIRS:
        both = np.flatnonzero((counts[:, split] > 0) & (counts[:, other] > 0))
        if len(both):
            yield SharedGroups(
                split=SPLIT_NAMES[split],
                other=SPLIT_NAMES[other],
                groups=len(both),
                images=int(counts[both, split].sum()),
                examples=tuple(samples.group_names[i] for i in both[:EXAMPLES]),
            )
