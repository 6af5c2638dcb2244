"""Texts and photos of objects are judged as images are: what is right passes, each planted fault is caught."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Cli

from edgetl.bundle import Bundle, open_bundle
from edgetl.devices.catalogue import host_profile
from edgetl.devices.check import check
from edgetl.devices.verdict import Reason
from edgetl.export.planted import known_faults
from edgetl.export.planted.fault import Bench, Fault
from edgetl.export.planted.planting import copy_variant

ORT = "onnxruntime-fp32"


def judged(bundle: Bundle, fault: Fault | None = None) -> list[Reason]:
    """What speaks against the bundle's first variant."""
    own = fault.preparation(bundle) if fault and fault.preparation else None
    report = check(bundle, host_profile(), variants=[ORT], latency=None, preprocess=own)
    return [reason for reason in report.variants[0].reasons if reason.verdict == "fail"]


def planted(path: Path, name: str, folder: Path) -> list[Reason]:
    """What `check` says of a copy of the bundle with that fault."""
    bundle = open_bundle(path)
    fault = next(each for each in known_faults(bundle.manifest.task) if each.name == name)
    folder.mkdir()
    variant = bundle.variant(ORT)
    copy_variant(bundle, variant, folder)
    if fault.plant:
        graph = bundle.open_variant(variant)
        fault.plant(Bench(folder=folder, graph=graph, variant=variant, manifest=bundle.manifest))
    return judged(open_bundle(folder), fault)


@pytest.mark.parametrize("name", ["reviews", "squares"])
def test_a_sound_bundle_passes_on_both_engines(name: str, request: pytest.FixtureRequest) -> None:
    bundle = open_bundle(request.getfixturevalue(name))
    report = check(bundle, host_profile(), latency=None)
    assert report.verdict == "pass", [each.reasons for each in report.variants]
    assert all(each.metric and each.metric.name == bundle.manifest.task.metrics[0] for each in report.variants)


@pytest.mark.parametrize(
    ("name", "layer", "cause"),
    [
        ("mask ignored", "numerics", "mask ignored"),
        ("another vocabulary", "input", "another tokeniser, or another vocabulary"),
        ("lower-casing lost", "input", "lower-casing is lost"),
        ("preparation: special tokens missing", "input", "special tokens are missing"),
        ("preparation: cut one token earlier", "input", "cut at another length"),
        ("preparation: mask of ones", "input", "mask does not tell the padding"),
    ],
)
def test_faults_of_texts_are_caught_and_named(reviews: Path, tmp_path: Path, name: str, layer: str, cause: str) -> None:
    found = planted(reviews, name, tmp_path / "faulty")
    assert [each for each in found if each.layer == layer and cause in (each.cause or "")], found


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("boxes in xywh for xyxy", "left, top, width, height"),
        ("classes shifted by one", "shifted"),
        ("letterbox offset", "moved by -8.0"),
    ],
)
def test_faults_of_boxes_are_caught_and_named(squares: Path, tmp_path: Path, name: str, cause: str) -> None:
    found = planted(squares, name, tmp_path / "faulty")
    assert [each for each in found if each.layer == "numerics"], found
    assert [each for each in found if cause in (each.cause or "")], found


@pytest.mark.parametrize("name", ["reviews", "squares"])
def test_the_gate_compares_with_a_baseline_of_the_task(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, cli: Cli
) -> None:
    bundle = request.getfixturevalue(name)
    before = shutil.copytree(bundle, tmp_path / "before")
    result = cli("gate", bundle, "--baseline", before, "--variants", ORT, "--margin", 100, "--json")
    assert result.exit_code == 0, result.stdout + result.stderr
    reasons = json.loads(result.stdout)["variants"][0]["reasons"]
    assert any(each["layer"] == "baseline" and "same model files" in each["text"] for each in reasons)


def test_an_answer_is_judged_by_what_its_own_tokens_say(reviews: Path) -> None:
    """The device's own tokenising is as good as edgetl's when it gives the same tokens, however it pads."""
    bundle = open_bundle(reviews)

    def own(encoded: Sequence[bytes]) -> dict[str, np.ndarray]:
        feeds = bundle.preparation(encoded).feeds
        wider = ((0, 0), (0, 3))
        return {"ids": np.pad(feeds["ids"], wider, constant_values=1), "mask": np.pad(feeds["mask"], wider)}

    def bad(encoded: Sequence[bytes]) -> dict[str, np.ndarray]:
        return {"ids": np.zeros((1, 3), np.int64), "mask": np.zeros((2, 3), np.int64)}

    def verdict(preprocess: Callable[..., object]) -> str:
        report = check(bundle, host_profile(), variants=[ORT], latency=None, preprocess=preprocess)
        return next(each.verdict for each in report.variants[0].reasons if each.layer == "input")

    assert (verdict(own), verdict(bad)) == ("pass", "fail")
