"""Faults of text classifiers: another tokeniser, a lost lower-casing, an ignored mask, another preparation."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgetl.bundle import Bundle
from edgetl.devices.preparing import Preprocess
from edgetl.export.planted import edits
from edgetl.export.planted.common import in_any_classifier, in_any_graph
from edgetl.export.planted.fault import Bench, Fault, Plant, exported
from edgetl.export.planted.planting import rehash
from edgetl.files import write_bytes
from edgetl.tasks import TextClassification
from edgetl.types import Feeds

TOKENISER = "tokenizer.json"


def text_faults(task: TextClassification) -> list[Fault]:
    """Every fault, in the order of the documentation."""
    return [
        Fault(name="mask ignored", plant=exported(edits.ignore_mask)),
        Fault(name="another vocabulary", plant=_tokeniser(_another_vocabulary)),
        Fault(name="lower-casing lost", plant=_tokeniser(_keep_case)),
        Fault(name="preparation: special tokens missing", preparation=_altered(_without_special_tokens)),
        Fault(name="preparation: cut one token earlier", preparation=_altered(_cut_earlier)),
        Fault(name="preparation: mask of ones", preparation=_altered(_mask_of_ones)),
        *in_any_classifier(),
        *in_any_graph(),
    ]


def _tokeniser(change: Callable[[dict[str, Any]], None]) -> Plant:
    """A bundle that carries another tokeniser, its hash renewed."""

    def plant(bench: Bench) -> None:
        path = bench.folder / TOKENISER
        document = json.loads(path.read_bytes())
        change(document)
        write_bytes(path, json.dumps(document, ensure_ascii=False).encode())
        rehash(bench.folder)

    return plant


def _another_vocabulary(document: dict[str, Any]) -> None:
    """All tokens but the special ones get the number of the next one."""
    vocabulary = document["model"]["vocab"]
    special = {each["content"] for each in document.get("added_tokens", [])}
    if isinstance(vocabulary, dict):
        names = [name for name in vocabulary if name not in special]
        numbers = [vocabulary[name] for name in names]
        vocabulary.update(zip(names, [*numbers[1:], numbers[0]], strict=True))
    else:  # a list of pairs, numbered by their place
        places = [i for i, (name, _) in enumerate(vocabulary) if name not in special]
        moved = [vocabulary[i] for i in places]
        for i, pair in zip(places, [*moved[1:], moved[0]], strict=True):
            vocabulary[i] = pair


def _keep_case(document: dict[str, Any]) -> None:
    """Upper case stays where the tokeniser made it lower; else it makes lower what should have stayed."""
    if _lowers(document.get("normalizer")):
        document["normalizer"] = _without_lowering(document["normalizer"])
    else:
        steps = [each for each in (document.get("normalizer"), {"type": "Lowercase"}) if each]
        document["normalizer"] = {"type": "Sequence", "normalizers": steps}


def _lowers(step: Any) -> bool:
    if not isinstance(step, dict):
        return False
    inner = any(_lowers(each) for each in step.get("normalizers", []))
    return inner or step["type"] == "Lowercase" or bool(step.get("lowercase"))


def _without_lowering(step: dict[str, Any]) -> dict[str, Any] | None:
    if step["type"] == "Lowercase":
        return None
    changed = dict(step)
    if "lowercase" in step:
        changed["lowercase"] = False
        # else it follows the lower-casing
        changed["strip_accents"] = step.get("strip_accents") if step.get("strip_accents") is not None else True
    if "normalizers" in step:
        changed["normalizers"] = [new for each in step["normalizers"] if (new := _without_lowering(each))]
    return changed


def _altered(change: Callable[[Feeds], Feeds]) -> Callable[[Bundle], Preprocess]:
    """The right preparation, and then this."""

    def of_bundle(bundle: Bundle) -> Preprocess:
        def prepare(encoded: Sequence[bytes]) -> Feeds:
            return change(bundle.preparation(encoded).feeds)

        return prepare

    return of_bundle


def _without_special_tokens(feeds: Feeds) -> Feeds:
    """The first and the last token of every text are cut off."""
    mask = feeds["mask"].copy()
    mask[np.arange(len(mask)), mask.sum(axis=1) - 1] = 0
    return {"ids": feeds["ids"][:, 1:], "mask": mask[:, 1:]}


def _cut_earlier(feeds: Feeds) -> Feeds:
    longest = int(feeds["mask"].sum(axis=1).max())
    return {name: array[:, : longest - 1] for name, array in feeds.items()}


def _mask_of_ones(feeds: Feeds) -> Feeds:
    return {**feeds, "mask": np.ones_like(feeds["mask"])}
