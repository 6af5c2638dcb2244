"""A data set of texts: its samples in order, their texts by row, and what is wrong with it."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgetl.errors import DataError
from edgetl.files import write_via
from edgetl.finetune.data.dataset import Dataset, divided, number_labels
from edgetl.finetune.data.table import Samples, TableWriter
from edgetl.finetune.text.corpus import Corpus
from edgetl.finetune.text.rows import read_texts
from edgetl.types import Track, silent


class TextDataset(msgspec.Struct, frozen=True, kw_only=True):
    """`dataset`: the samples, whose path is the number of their row, from 1. `corpus`: the text of each row."""

    dataset: Dataset
    corpus: Corpus

    def text(self, path: str) -> str:
        return self.corpus[int(path) - 1]

    def texts(self, samples: Samples) -> Iterator[str]:
        return (self.text(path) for path in samples.paths())


def rows_of(samples: Samples) -> NDArray[np.int64]:
    """The place of each sample's text in the corpus, (samples,)."""
    return np.fromiter((int(path) - 1 for path in samples.paths()), np.int64, len(samples))


def read_text_dataset(
    source: Path, *, seed: int, labels: Sequence[str] | None = None, training: bool = True, track: Track = silent
) -> TextDataset:
    """Reads a .csv, .jsonl or .parquet file. A missing val is split from train, stratified and seeded, groups whole.

    `labels` are the model's own when its head is kept; else those that occur, sorted. With `training`, each label
    needs two train texts. Raises DataError, and DependencyError for a missing library.
    """
    names: dict[str, int] = {}
    digests = bytearray()
    with TableWriter() as table:

        def texts() -> Iterator[str]:
            for row, each in enumerate(track(read_texts(source), "read texts"), 1):
                table.append(str(row), names.setdefault(each.label, len(names)), each.split, each.group)
                digests.extend(hashlib.sha256(_encoded(each.text, each.where)).digest())
                yield each.text

        corpus = Corpus(texts())
        if not len(corpus):
            raise DataError(f"`{source}` lists no texts", hint="expected is one text a row, with `text` and `label`")
        samples = table.finish()
    samples.digests[:] = np.frombuffer(bytes(digests), np.uint8).reshape(-1, 32)
    known = tuple(labels if labels is not None else sorted(names))
    number_labels(
        source, samples, [*names], known, own_labels=labels is not None, training=training, what="text"
    )  # fmt: skip
    return TextDataset(dataset=divided(source, samples, known, seed=seed), corpus=corpus)


def _encoded(text: str, where: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # a lone surrogate, which JSON can spell
        raise DataError(f"{where} has a text that is not UTF-8", hint="remove the unpaired surrogate") from error


def write_texts(path: Path, texts: Iterator[str]) -> None:
    """Writes `texts.json` whole or not at all, a text at a time."""

    def pieces() -> Iterator[bytes]:
        between = b"["
        for text in texts:
            yield between + msgspec.json.encode(text)
            between = b",\n"
        yield b"]\n"

    write_via(path, lambda stream: stream.writelines(pieces()))
