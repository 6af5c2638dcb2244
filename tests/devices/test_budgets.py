"""What a profile's `[latency]` bounds: each budget surely met passes, each impossible one fails and is named."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.conftest import Cli

from edgetl.bundle import open_bundle
from edgetl.devices import launch
from edgetl.devices.budgets import Place, measured_latencies, with_latency, with_resources
from edgetl.devices.capacity import measure_capacity
from edgetl.devices.capacity_launch import resident_bytes
from edgetl.devices.catalogue import host_profile
from edgetl.devices.check import check
from edgetl.devices.launches import LaunchPlan, LaunchRequest, Subject
from edgetl.devices.layers.resources import cold_start_reason, memory_reason, size_reason, throughput_reason
from edgetl.devices.profile import EngineChoice, LatencyBudget, Profile
from edgetl.devices.verdict import QUANTILES, VariantReport
from edgetl.errors import EngineError
from edgetl.export.planted.planting import rehash
from edgetl.runtime.bench import BenchOptions
from edgetl.runtime.throughput import Load
from edgetl.types import silent

INT8 = "onnxruntime-int8"
QUICK = BenchOptions(min_seconds=0.0, min_queries=5, warmup_queries=1)


def judged(cli: Cli, bundle: Path, folder: Path, budget: str, *, code: int = 0, command: str = "check") -> Any:
    profile = folder / "mine.toml"
    accuracy = "[accuracy]\nmax_drop_points = 60\n"
    profile.write_text(
        f'name = "mine"\ntitle = "mine"\n{accuracy}[[engines]]\nname = "onnxruntime"\n[latency]\n{budget}\n'
    )
    done = cli(command, bundle, "--device", profile, "--variants", INT8, "--json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)["variants"][0]


def of_layers(variant: Any, *layers: str) -> dict[str, str]:
    """Verdict by text."""
    return {reason["text"]: reason["verdict"] for reason in variant["reasons"] if reason["layer"] in layers}


def subject(bundle: Path, **options: int) -> Subject:
    return Subject(bundle=str(bundle), variant=INT8, options={**options})


def test_a_size_is_exact(bundle: Path, tmp_path: Path, cli: Cli) -> None:
    size = sum(path.stat().st_size for path in (bundle / INT8).glob("model.onnx"))
    met = judged(cli, bundle, tmp_path, f"size_mb = {size / 1e6}")
    assert met["size_bytes"] == size and list(of_layers(met, "resources").values()) == ["pass"]
    assert met["resources"] is None, "nothing else was asked, so nothing else is measured"
    broken = judged(cli, bundle, tmp_path, f"size_mb = {(size - 1) / 1e6}", code=7)
    assert list(of_layers(broken, "resources").values()) == ["fail"]


def test_a_skipped_variant_still_says_how_large_it_is(bundle: Path) -> None:
    elsewhere = Profile(name="p", title="p", engines=(EngineChoice(name="openvino"),), latency=LatencyBudget(size_mb=1))
    (report,) = check(open_bundle(bundle), elsewhere, variants=[INT8], latency=None).variants
    assert report.verdict == "skipped" and report.size_bytes > 0
    assert [reason.layer for reason in report.reasons] == ["hardware"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")
def test_memory_and_throughput_of_a_fresh_process(bundle: Path) -> None:
    (both,) = measure_capacity(subject(bundle), Load(batch=4, min_seconds=0.0), 1)
    assert both.per_second is not None and both.per_second > 0
    assert both.resident_bytes is not None and 10e6 < both.resident_bytes < 4e9
    (memory,) = measure_capacity(subject(bundle), None, 1)
    assert memory.per_second is None and memory.resident_bytes is not None


def test_a_launch_that_says_nothing_of_use_is_an_engine_error(bundle: Path) -> None:
    with pytest.raises(EngineError, match="no report"):
        measure_capacity(subject(bundle), None, 1, command=(sys.executable, "-c", "print('none')"))
    with pytest.raises(EngineError, match=r"launch 1 of 1: .*thraeds"):
        measure_capacity(subject(bundle, thraeds=1), None, 1)


def test_what_cannot_be_measured_is_undecided_never_passed(bundle: Path) -> None:
    """The subject does not open, as one might not with a batch that its engine refuses."""
    budget = LatencyBudget(per_second=1e-6, cold_start_ms=1e6, rss_mb=1e6)
    profile = Profile(name="p", title="p", latency=budget)
    place = Place(bundle=open_bundle(bundle), profile=profile, plan=LaunchPlan(), track=silent)
    report = with_resources(VariantReport(id=INT8, verdict="pass"), subject(bundle, thraeds=1), place)
    assert [(reason.layer, reason.verdict) for reason in report.reasons] == [
        ("latency", "undecided"), ("latency", "undecided"), ("resources", "undecided"),
    ]  # fmt: skip
    assert all("thraeds" in reason.text for reason in report.reasons)


def test_a_variant_that_cannot_be_measured_costs_no_other_its_latency(bundle: Path) -> None:
    subjects = {"good": subject(bundle), "bad": subject(bundle, thraeds=1)}
    plan = LaunchPlan(launches=2, blocks=2, queries=2, warmup=0)
    found = measured_latencies(subjects, plan, silent)
    assert isinstance(found["bad"], EngineError) and not isinstance(found["good"], EngineError)
    profile = Profile(name="p", title="p", latency=LatencyBudget(p50_ms=1e6))
    place = Place(bundle=open_bundle(bundle), profile=profile, plan=plan, track=silent)
    met, unknown = (with_latency(VariantReport(id="x", verdict="pass"), found[name], place) for name in subjects)
    assert [reason.verdict for reason in met.reasons] == ["pass"]
    assert [reason.verdict for reason in unknown.reasons] == ["undecided"] and unknown.latency_ms is None


def test_memory_that_the_system_does_not_tell_is_undecided(tmp_path: Path) -> None:
    assert resident_bytes(tmp_path / "status") is None
    (tmp_path / "status").write_text("VmHWM:\t  9999 kB\nVmRSS:\t  1234 kB\nRssAnon:\t 1000 kB\n")
    assert resident_bytes(tmp_path / "status") == 1234 * 1024
    value, reason = memory_reason([1_000_000, None], 100.0)
    assert value is None and reason.verdict == "undecided" and "does not say" in reason.text


@pytest.mark.parametrize(("most", "verdict"), [(5.0, "pass"), (4.5, "undecided"), (3.9, "fail")])
def test_memory_is_the_most_of_any_process(most: float, verdict: str) -> None:
    value, reason = memory_reason([4_000_000, 5_000_000, 4_200_000], most)
    assert value == 5.0 and reason.verdict == verdict and reason.p_value is None


@pytest.mark.parametrize(("asked", "verdict"), [(90.0, "pass"), (100.0, "undecided"), (115.0, "fail")])
def test_throughput_is_judged_on_its_interval(asked: float, verdict: str) -> None:
    rates = 100 * np.exp(np.random.default_rng(0).normal(0, 0.03, 8))
    level, reason = throughput_reason(rates, asked, 16)
    assert reason.verdict == verdict and level.low < level.value < level.high
    assert "16 an engine call" in reason.text and reason.p_value is not None
    assert (reason.p_value <= 0.05) == (level.high < asked)


@pytest.mark.parametrize(("most", "verdict"), [(900.0, "pass"), (800.0, "undecided"), (700.0, "fail")])
def test_a_cold_start_is_judged_on_its_interval(most: float, verdict: str) -> None:
    starts = 800 * np.exp(np.random.default_rng(0).normal(0, 0.03, 8))
    starts[0] *= 3  # the first one after an update
    assert cold_start_reason(starts, most)[1].verdict == verdict
    unsure = cold_start_reason(starts, 780.0, 0.2)[1], cold_start_reason(starts, 780.0, 0.001)[1]
    assert "(80 %, 8 starts)" in unsure[0].text and "(99.9 %, 8 starts)" in unsure[1].text


def test_size_is_in_millions_of_bytes() -> None:
    assert size_reason(2_000_000, 2.0).verdict == "pass" and size_reason(2_000_001, 2.0).verdict == "fail"


def test_a_query_of_a_multi_stream_has_the_batch_of_the_budget(bundle: Path) -> None:
    """What the launch answers, looked at from within."""
    shapes: list[tuple[int, ...]] = []

    def watched(calls: list[launch.Call]) -> list[launch.Call]:
        def call(number: int) -> object:
            outputs: Any = calls[0](number)
            shapes.append(outputs["logits"].shape)
            return outputs

        return [call]

    asked = Subject(bundle=str(bundle), variant=INT8, batch=3)
    plan = LaunchPlan(launches=1, blocks=2, queries=1, warmup=0)
    launch.measure(LaunchRequest(subjects=(asked,), plan=plan, launch=0), watched)
    assert set(shapes) == {(3, 3)}, "three samples, three labels"


def test_single_times_leave_their_distribution(bundle: Path) -> None:
    (report,) = check(open_bundle(bundle), host_profile(), variants=[INT8], latency=QUICK).variants
    assert report.latency_ms is not None and report.resources is None
    quantiles = report.latency_ms.quantiles
    assert len(quantiles) == len(QUANTILES) and list(quantiles) == sorted(quantiles)
    assert quantiles[QUANTILES.index(0.5)] == pytest.approx(report.latency_ms.p50)


MET = "p50_ms = 1e6\np99_ms = 1e6\nper_second = 1e-6\ncold_start_ms = 1e6\nrss_mb = 1e6\nsize_mb = 1e6\nbatch = 2\n"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "gate"])
def test_budgets_that_are_surely_met_pass(cli: Cli, bundle: Path, tmp_path: Path, command: str) -> None:
    variant = judged(cli, bundle, tmp_path, MET + 'scenario = "multi-stream"', command=command)
    found = of_layers(variant, "latency", "resources")
    assert set(found.values()) == {"pass"} and len(found) == 6
    assert sum("for 2 samples" in text for text in found) == 2
    resources = variant["resources"]
    for name in ("per_second", "cold_start"):
        value = resources[f"{name}_ms" if name == "cold_start" else name]
        assert 0 < resources[f"{name}_low"] <= value <= resources[f"{name}_high"]
    assert resources["rss_mb"] > 10
    assert len(variant["latency_ms"]["quantiles"]) == len(QUANTILES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("budget", "layer", "named"),
    [
        ("p50_ms = 1e-6", "latency", "p50"),
        ("p99_ms = 1e-6", "latency", "p99"),
        ("per_second = 1e9", "latency", "samples/s"),
        ("cold_start_ms = 1e-6", "latency", "first answer"),
        ("rss_mb = 1e-6", "resources", "MB resident"),
    ],
)
def test_a_budget_that_cannot_be_met_fails_and_is_named(
    cli: Cli, bundle: Path, tmp_path: Path, budget: str, layer: str, named: str
) -> None:
    variant = judged(cli, bundle, tmp_path, budget, code=7)
    (failed,) = [reason for reason in variant["reasons"] if reason["verdict"] == "fail"]
    assert failed["layer"] == layer and named in failed["text"]


def _refuse_more_than(folder: Path, most: int) -> None:
    """The model looks its batch up in a table that ends there."""
    path = folder / "onnxruntime-fp32" / "model.onnx"
    model = onnx.load(path)
    place = next(i for i, node in enumerate(model.graph.node) if "logits" in node.output)
    node = model.graph.node[place]
    node.output[list(node.output).index("logits")] = "raw"
    table = onnx.numpy_helper.from_array(np.zeros(most + 1, np.float32), "table")
    first = onnx.numpy_helper.from_array(np.array(0, np.int64), "first")
    model.graph.initializer.extend([table, first])
    added = [
        onnx.helper.make_node("Shape", ["image"], ["shape"]),
        onnx.helper.make_node("Gather", ["shape", "first"], ["batch size"]),
        onnx.helper.make_node("Gather", ["table", "batch size"], ["nothing"]),
        onnx.helper.make_node("Add", ["raw", "nothing"], ["logits"]),
    ]
    for offset, each in enumerate(added):
        model.graph.node.insert(place + 1 + offset, each)
    onnx.save(model, path)
    rehash(folder)


@pytest.mark.parametrize(("size", "verdict"), [(8, "pass"), (64, "undecided")])
def test_a_batch_that_the_engine_refuses_leaves_the_latency_open(own_bundle: Path, size: int, verdict: str) -> None:
    """Nobody bounds its time, yet the profile's scenario is what a check measures."""
    _refuse_more_than(own_bundle, 32)
    budget = LatencyBudget(scenario="multi-stream", batch=size, size_mb=100)
    profile = Profile(name="p", title="p", engines=(EngineChoice(name="onnxruntime"),), latency=budget)
    (report,) = check(open_bundle(own_bundle), profile, variants=["onnxruntime-fp32"], latency=QUICK).variants
    assert report.verdict == verdict, report.reasons
    unmeasured = [reason.text for reason in report.reasons if reason.layer == "latency"]
    assert (report.latency_ms is None) == (size == 64) == any("not measured" in text for text in unmeasured)
