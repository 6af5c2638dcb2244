"""Damaged documents: what a careless edit, a broken disk or a hostile hand could make of the files edgetl reads."""

import copy
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgetl import show
from edgetl.bundle import open_bundle
from edgetl.devices import measurements
from edgetl.devices.answers import no_answers, validation_answers
from edgetl.devices.baseline import accuracy_reason, open_baseline
from edgetl.devices.catalogue import host_profile, load_profile
from edgetl.devices.check import choose, skip_reason
from edgetl.devices.drop import Evidence
from edgetl.devices.examine import read_golden
from edgetl.devices.layers.task import task_layer
from edgetl.devices.profile import Profile
from edgetl.errors import EdgetlError

NASTY = st.sampled_from([
    "../../../../etc/passwd", "/etc/passwd", "..", ".", "", "\0", "a\0b", "golden/../../x", "~/x", "x" * 5000, "NaN",
    "onnxruntime", "openvino", "cuda", "logits", "1.9", "2.0", "-1", "%s%n", "𝔘", "labels.txt", "golden/samples.npz",
])  # fmt: skip
SCALARS = st.one_of(
    NASTY,
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 3),
    st.just(10**400),
    st.floats(),
    st.text(max_size=8),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NASTY, inner, max_size=2))


class Damage(msgspec.Struct, frozen=True):
    """Where (each number picks a child, modulo their count) and what: replace, remove, double, or a byte."""

    where: list[int]
    how: str
    value: Any


DAMAGES = st.lists(
    st.builds(
        Damage,
        st.lists(st.integers(0, 60), min_size=1, max_size=6),
        st.sampled_from(["replace", "replace", "replace", "remove", "double"]),
        VALUES,
    ),
    min_size=1,
    max_size=3,
)
FLIPS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3)
BYTES: st.SearchStrategy[list[tuple[int, int]]] = st.one_of(st.just([]), st.just([]), st.just([]), FLIPS)
"""Seldom any: most flipped bytes are no JSON any more, and such files are the easy ones."""


def damaged(document: Any, damages: list[Damage]) -> Any:
    """A copy of a JSON document with the damages done."""
    document = copy.deepcopy(document)
    for damage in damages:
        place, steps = document, list(damage.where)
        while steps:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = keys[steps.pop(0) % len(keys)]
            if not steps or not isinstance(place[key], dict | list):
                _do(place, key, damage)
                break
            place = place[key]
    return document


def _do(place: Any, key: Any, damage: Damage) -> None:
    if damage.how == "replace":
        place[key] = damage.value
    elif damage.how == "remove":
        del place[key]
    elif isinstance(place, list):
        place.append(copy.deepcopy(place[key]))
    else:
        place[f"{key}_"] = place[key]


def encoded(document: Any, flips: list[tuple[int, int]]) -> bytes:
    """The document as JSON bytes, some of them changed."""
    content = bytearray(json.dumps(document).encode("utf-8", "surrogatepass"))
    for position, value in flips:
        content[position % len(content)] = value
    return bytes(content)


def use_manifest(folder: Path) -> None:
    """Everything edgetl reads of a bundle, short of starting an engine."""
    bundle = open_bundle(folder)
    profile = host_profile()
    show.manifest_view(msgspec.to_builtins(bundle.manifest), {"records": []})
    bundle.verify()
    for variant in choose(bundle, profile, None):
        skip_reason(variant, profile)
        bundle.open_variant(variant)
        bundle.own_answers(variant)
        answers = validation_answers(bundle, variant)
        if answers is not None:
            task_layer(Evidence(answers=answers), profile.accuracy, bundle.manifest.task.labels, exempt=False)
    read_golden(bundle, None)


def use_profile(path: Path) -> None:
    profile: Profile = load_profile(str(path))
    for engine in profile.engines:
        profile.options(engine.name)


def use_measurements(folder: Path) -> None:
    show.manifest_view(
        msgspec.to_builtins(open_bundle(folder).manifest),
        msgspec.to_builtins(measurements.read(open_bundle(folder))),
    )


def use_report(path: Path, bundle: Path) -> None:
    baseline, opened = open_baseline(path), open_bundle(bundle)
    for variant in opened.manifest.variants:
        answers = validation_answers(opened, variant) or no_answers()
        accuracy_reason(baseline, variant, Evidence(answers=answers), opened, host_profile().accuracy)


class Watch:
    """Records every file opened for writing, or read outside the places that Python itself needs."""

    def __init__(self, allowed: Path) -> None:
        self.allowed, self.active, self.strange = str(allowed.resolve()), False, list[str]()
        self.ours = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[1]), "/proc", "/sys", "/usr", "/etc/ssl")
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active or event != "open" or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        path, mode = str(Path(os.fsdecode(arguments[0])).absolute()), arguments[1] or ""
        writes = any(letter in mode for letter in "wax+")
        if not path.startswith(self.allowed) and (writes or not path.startswith(self.ours)):
            self.strange.append(f"{path} ({mode})")


def survives(use: Callable[[], None], watch: Watch) -> str | None:
    """None when `use` works or raises an error of ours; else the crash."""
    watch.active = True
    try:
        use()
    except EdgetlError:
        return None
    except Exception as error:  # noqa: BLE001  # any other is what is looked for
        return f"{type(error).__name__}: {error}"
    finally:
        watch.active = False
    return watch.strange[0] if watch.strange else None


def fuzz(
    document: Any,
    path: Path,
    use: Callable[[], None],
    watch: Watch,
    examples: int,
    encode: Callable[[Any, list[tuple[int, int]]], bytes] = encoded,
    *,
    derandomize: bool = False,
) -> list[str]:
    """Crashes among `examples` damaged versions of `document`, written to `path` and used."""
    crashes: list[str] = []
    checks = list(HealthCheck)

    @settings(
        max_examples=examples, database=None, deadline=None, derandomize=derandomize, suppress_health_check=checks
    )
    @given(DAMAGES, BYTES)
    def one(damages: list[Damage], flips: list[tuple[int, int]]) -> None:
        path.write_bytes(encode(damaged(document, damages), flips))
        if crash := survives(use, watch):
            crashes.append(f"{path.name}: {crash}")

    one()
    return crashes
