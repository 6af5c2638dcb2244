"""From a text to token ids: the one tokeniser of edgetl, the `tokenizers` library with the model's own file.

Format of `tokenizer.json`: https://huggingface.co/docs/tokenizers.
"""

from collections.abc import Sequence
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer

from edgetl.errors import ArtefactError, DataError, first_line
from edgetl.tasks.images import Sample
from edgetl.tasks.padding import padded
from edgetl.tasks.preparation import Color, Prepared
from edgetl.tasks.text_classification import TextInput

MAX_CHARACTERS = 1_000_000
"""A longer text is refused before it is tokenised."""


def tokeniser_version() -> str:
    """Two machines with the same string split texts alike."""
    return f"tokenizers {tokenizers.__version__}"


class Tokens:
    """The `Preparation` of texts: `ids` and `mask`, int64 of shape (texts, longest of them)."""

    def __init__(self, path: Path, spec: TextInput) -> None:
        """Raises ArtefactError when `path` holds no tokeniser."""
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing more special
            raise ArtefactError(f"`{path}` is no tokeniser: {first_line(error)}", hint="export it again") from error
        tokenizer.no_padding()
        tokenizer.enable_truncation(spec.max_length)
        self._tokenizer, self._spec = tokenizer, spec

    def __call__(self, samples: Sequence[Sample], *, color: Color = "rgb") -> Prepared:
        """Each sample is a text, or its bytes in UTF-8. Raises DataError."""
        encoded = self._tokenizer.encode_batch([text_of(sample) for sample in samples])
        ids = [each.ids for each in encoded]
        return Prepared(
            feeds={"ids": padded(ids, self._spec.pad_id), "mask": padded([[1] * len(row) for row in ids], 0)}
        )


def text_of(sample: Sample) -> str:
    """The text of a sample. Raises DataError for what is none."""
    if isinstance(sample, bytes | bytearray | memoryview):
        try:
            sample = bytes(sample).decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"the text is no UTF-8: {first_line(error)}", hint="encode it as UTF-8") from error
    if not isinstance(sample, str):
        raise DataError(f"a text cannot be a `{type(sample).__name__}`", hint="pass a str, or a list of them")
    if not sample.strip():
        raise DataError("the text is empty", hint="pass a sentence")
    if len(sample) > MAX_CHARACTERS:
        raise DataError(
            f"the text has {len(sample):,} characters, more than {MAX_CHARACTERS:,}", hint="pass a part of it"
        )
    return sample
