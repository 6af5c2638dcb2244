"""Input layer of texts: do they become the very tokens the model was judged on?"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgetl.devices.preparing import Preparing
from edgetl.devices.verdict import Reason
from edgetl.errors import DataError
from edgetl.tasks import TextClassification
from edgetl.types import Feeds


def tokens_layer(task: TextClassification, preparing: Preparing) -> Reason:
    """Texts through this machine's tokeniser, or the device's own code, against the expected ids and mask: exactly.

    A token that differs is another word to the model, so there is no tolerance.
    """
    encoded, expected = preparing.encoded, preparing.expected
    try:
        found = preparing.own(encoded) if preparing.own else preparing.prepare(encoded)
    except DataError as error:
        return Reason(layer="input", verdict="fail", text=error.message)
    if problem := _malformed(found, len(encoded)):
        return Reason(layer="input", verdict="fail", text=problem)
    have, wanted = _rows(found), _rows(expected)
    wrong = [i for i, (one, other) in enumerate(zip(have, wanted, strict=True)) if one != other]
    if not wrong:
        return Reason(layer="input", verdict="pass", text=f"{len(encoded)} texts become exactly the expected tokens")
    text = f"{len(wrong)} of {len(encoded)} texts become other tokens; {_difference(wrong[0], have, wanted)}"
    return Reason(layer="input", verdict="fail", text=text, cause=_cause(task, preparing, found, wrong))


def _malformed(found: Any, texts: int) -> str | None:
    if not isinstance(found, Mapping) or not {"ids", "mask"} <= found.keys():
        return "the preparation gives no `ids` and `mask`"
    shapes = found["ids"].shape, found["mask"].shape
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][0] != texts:
        return f"the preparation gives ids {shapes[0]} and mask {shapes[1]}, expected is ({texts}, length) for both"
    return None


def _rows(feeds: Feeds) -> list[list[int]]:
    """The tokens of each text, without padding."""
    return [ids[mask != 0].tolist() for ids, mask in zip(feeds["ids"], feeds["mask"], strict=True)]


def _difference(text: int, have: list[list[int]], wanted: list[list[int]]) -> str:
    """The first token of text number `text` that differs."""
    one, other = have[text], wanted[text]
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    shown = [str(row[same]) if same < len(row) else "the end" for row in (one, other)]
    return f"of text {text} token {same} is {shown[0]}, not {shown[1]}"


def _cause(task: TextClassification, preparing: Preparing, found: Feeds, wrong: list[int]) -> str:
    """What explains the difference, from the tokens alone."""
    have, wanted = _rows(found), _rows(preparing.expected)
    limit = task.input.max_length
    if all(have[i][: limit - 1] == wanted[i][: limit - 1] for i in wrong):
        return "texts are cut at another length"
    stripped = [row[1:-1] for row in wanted]
    if all(have[i] == stripped[i] for i in wrong):
        return "the special tokens are missing"
    if np.array_equal(found["mask"], np.ones_like(found["mask"])):
        return "the mask does not tell the padding"
    capital = [text.decode("utf-8", "replace") != text.decode("utf-8", "replace").lower() for text in preparing.encoded]
    if all(capital[i] for i in wrong) and not all(capital):
        return "upper and lower case are read differently: lower-casing is lost, or added"
    return "another tokeniser, or another vocabulary"
