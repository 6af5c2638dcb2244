"""Benching a bundle: which variants, with how many callers, and what the report says of the rest."""

from pathlib import Path

import pytest

from edgetl.bundle import open_bundle
from edgetl.devices.catalogue import host_profile
from edgetl.devices.measure import bench
from edgetl.devices.profile import EngineChoice, Profile
from edgetl.errors import DependencyError
from edgetl.files import write_json
from edgetl.machine import detect
from edgetl.runtime.bench import BenchOptions
from edgetl.runtime.plan import SCHEMA, Choice, Plan

OFFLINE = BenchOptions(scenarios=("offline",), min_seconds=0.0, warmup_queries=2, warmup_seconds=0.1, offline_batch=2)


def test_callers_are_those_asked_for_else_the_plans(own_bundle: Path) -> None:
    opened = open_bundle(own_bundle)
    plan = Plan(
        schema=SCHEMA,
        variant="openvino-int8",
        throughput=Choice(variant="onnxruntime-int8", concurrency=3),
        machine=detect(),
        manifest=opened.digest,
    )
    (own_bundle / "plans").mkdir()
    write_json(own_bundle / "plans" / "host.json", plan)

    def callers(concurrency: int | None) -> list[int]:
        names = ("onnxruntime-int8", "openvino-int8")
        report = bench(opened, host_profile(), OFFLINE, variants=names, concurrency=concurrency)
        return [each.scenarios.offline.concurrency for each in report.variants if each.scenarios.offline]

    assert callers(None) == [3, 1]
    assert callers(2) == [2, 2]


def test_what_the_device_does_not_run_is_skipped_with_its_reason(bundle: Path) -> None:
    profile = Profile(name="p", title="a device", engines=(EngineChoice(name="openvino"),))
    report = bench(open_bundle(bundle), profile, OFFLINE)
    assert [each.id for each in report.variants] == ["openvino-fp32", "openvino-int8"]
    assert set(report.skipped.values()) == {"a device does not run onnxruntime"}
    with pytest.raises(DependencyError, match="nothing can be measured here"):
        bench(open_bundle(bundle), profile, OFFLINE, variants=["onnxruntime-fp32"])
