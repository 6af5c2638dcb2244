"""Comparing two subjects: how they are named, and what their ratio says."""

from pathlib import Path

import numpy as np
import pytest

from edgetl.bundle import open_bundle
from edgetl.devices.catalogue import host_profile
from edgetl.devices.compare import compare, find_subject
from edgetl.devices.launches import LaunchPlan
from edgetl.devices.profile import EngineChoice, Profile
from edgetl.errors import ArtefactError, ConfigError, DependencyError


def test_a_subject_is_a_variant_an_engine_or_another_bundle(bundle: Path, own_bundle: Path) -> None:
    opened = open_bundle(bundle)
    int8 = opened.variant("onnxruntime-int8")

    def found(name: str) -> tuple[Path, str]:
        where, variant = find_subject(name, opened, like=int8)
        return where.path, variant.id

    assert found("openvino-fp32") == (bundle, "openvino-fp32")
    assert found("openvino") == (bundle, "openvino-int8"), "an engine's variant of the same precision"
    assert found(str(own_bundle)) == (own_bundle, "onnxruntime-int8"), "another bundle's variant of the same name"
    assert found(f"{own_bundle}:openvino-fp32") == (own_bundle, "openvino-fp32")


def test_what_is_no_subject_is_said(bundle: Path, own_bundle: Path, tmp_path: Path) -> None:
    opened = open_bundle(bundle)
    with pytest.raises(ConfigError, match="no variant, engine or bundle") as caught:
        find_subject("openvino-int9", opened)
    assert "openvino-int8" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="several variants"):
        find_subject(str(own_bundle), opened)
    with pytest.raises(ConfigError, match="has no variant for `tensorrt`"):
        find_subject("tensorrt", opened)
    with pytest.raises(ArtefactError, match="is no bundle"):
        find_subject(f"{tmp_path}:openvino-int8", opened)
    with pytest.raises(ArtefactError, match="has no variant"):
        find_subject(f"{own_bundle}:openvino-int9", opened)


def test_a_subject_beside_itself(bundle: Path) -> None:
    """The interval holds the value, every query is there, and both sides say what ran."""
    opened = open_bundle(bundle)
    pair = opened, opened.variant("onnxruntime-int8")
    report, times = compare(pair, pair, host_profile(), LaunchPlan(launches=2, blocks=3, queries=5))
    assert times.shape == (2, 2, 3, 5) and np.all(times > 0)
    assert report.ratio.low <= report.ratio.value <= report.ratio.high
    assert report.a.subject == report.b.subject and report.a.p50_ms.value == pytest.approx(np.median(times[0]))


def test_an_engine_the_device_does_not_run_is_refused(bundle: Path) -> None:
    opened = open_bundle(bundle)
    profile = Profile(name="p", title="a device", engines=(EngineChoice(name="openvino"),))
    pairs = [(opened, opened.variant(name)) for name in ("openvino-int8", "onnxruntime-int8")]
    with pytest.raises(DependencyError, match="`onnxruntime-int8` cannot be measured here"):
        compare(pairs[0], pairs[1], profile, LaunchPlan(launches=2))
