"""`gate`: latency on its interval, and the comparison with an earlier bundle or report."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.conftest import Cli

from edgetl.devices.layers.latency import budget_reasons, latency_of, regression_reason
from edgetl.devices.profile import LatencyBudget
from edgetl.devices.verdict import QUANTILES
from edgetl.export.config import ExportConfig
from edgetl.export.planted.planting import rehash
from edgetl.export.stage import export
from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.stage import finetune
from edgetl.manifest import Manifest
from edgetl.types import Array

FP32 = "onnxruntime-fp32"


def gated(cli: Cli, *arguments: object, code: int = 0) -> dict[str, Any]:
    done = cli("gate", *arguments, "--variants", FP32, "--json")
    assert done.exit_code == code, done.output
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def texts(report: dict[str, Any], layer: str) -> list[str]:
    return [reason["text"] for reason in report["variants"][0]["reasons"] if reason["layer"] == layer]


def launches(median: float, *, noise: float = 0.02, seed: int = 0) -> Array:
    """Simulated times in ms: five launches that differ by `noise`, queries that differ by more."""
    rng = np.random.default_rng(seed)
    each = np.exp(rng.normal(0, noise, (5, 1, 1)))
    return np.asarray(median * each * np.exp(rng.normal(0, 0.05, (5, 10, 20))))


@pytest.fixture(scope="module")
def worse(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a network that has hardly learnt: right in itself, worse than the baseline."""
    folder = tmp_path_factory.mktemp("worse")
    config = FinetuneConfig(
        data=str(dataset), backbone="residual_cnn", strategy="from-scratch",
        loop={"epochs": 1, "learning_rate": 1e-7, "augment": "none"},
    )  # fmt: skip
    finetune(config, folder / "run")
    export(folder / "run", folder / "bundle", ExportConfig(variants=(FP32,)))
    return folder / "bundle"


def test_against_itself_nothing_is_worse(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    report = gated(cli, bundle, "--baseline", bundle, "-o", tmp_path / "report.json")
    accuracy, speed = texts(report, "baseline")[1], texts(report, "baseline")[0]
    assert "the same model files" in accuracy or "the same model files" in speed
    latency = report["variants"][0]["latency_ms"]
    assert 0 < latency["p50_low"] <= latency["p50"] <= latency["p50_high"]
    before = report["variants"][0]["baseline_latency_ms"]
    assert before["p50"] > 0 and len(before["quantiles"]) == len(latency["quantiles"]) == len(QUANTILES)
    again = gated(cli, bundle, "--baseline", tmp_path / "report.json")
    assert any("not measured in turns" in text for text in texts(again, "baseline"))
    assert again["variants"][0]["baseline_latency_ms"] is None, "a report's latency is of another hour"
    assert again["baseline"].endswith("report.json")


def test_a_model_that_got_worse_is_stopped_though_its_export_is_faithful(
    cli: Cli, bundle: Path, worse: Path, tmp_path: Path
) -> None:
    assert cli("check", worse).exit_code == 0
    # both networks take as long; a margin that no noise reaches leaves the question to accuracy
    report = gated(cli, worse, "--baseline", bundle, "--margin", 100, code=7)
    assert report["verdict"] == "fail"
    (failed,) = [r for r in report["variants"][0]["reasons"] if r["verdict"] == "fail"]
    assert failed["layer"] == "baseline" and "90 common samples" in failed["text"] and failed["p_value"] < 0.05
    gated(cli, bundle, "-o", tmp_path / "main.json")
    gated(cli, worse, "--baseline", tmp_path / "main.json", code=7)


@pytest.mark.parametrize(("most", "verdict"), [(13.0, "pass"), (8.0, "fail"), (10.0, "undecided")])
def test_a_budget_is_judged_on_the_interval(most: float, verdict: str) -> None:
    times = launches(10.0)
    (reason,) = budget_reasons(times, latency_of(times), LatencyBudget(p50_ms=most))
    assert reason.verdict == verdict, reason.text


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (1.2, "fail"), (1.05, "undecided")])
def test_a_regression_is_judged_on_the_interval(factor: float, verdict: str) -> None:
    before = launches(10.0)
    after = before * factor * np.exp(np.random.default_rng(5).normal(0, 0.02, (5, 1, 1)))
    assert regression_reason(before, after, 0.05).verdict == verdict


def test_a_profile_with_a_budget_is_a_latency_gate(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    profile = tmp_path / "slow.toml"
    text = 'name = "mine"\ntitle = "my device"\n[[engines]]\nname = "onnxruntime"\n[latency]\np50_ms = '
    profile.write_text(text + "100000.0\n")
    kept = cli("check", bundle, "--device", profile, "--variants", FP32, "--json")
    assert kept.exit_code == 0, kept.output
    assert any(r["layer"] == "latency" for r in json.loads(kept.stdout)["variants"][0]["reasons"])
    profile.write_text(text + "0.000001\n")
    broken = cli("check", bundle, "--device", profile, "--variants", FP32)
    assert broken.exit_code == 7 and "allowed 1e-06" in broken.stdout
    profile.write_text(text + "-1.0\n")
    assert cli("check", bundle, "--device", profile).exit_code == 2


def test_a_baseline_of_another_task_is_refused(cli: Cli, bundle: Path, own_bundle: Path) -> None:
    def renamed(manifest: Manifest) -> Manifest:
        labels = tuple(f"other {label}" for label in manifest.task.labels)
        return msgspec.structs.replace(manifest, task=msgspec.structs.replace(manifest.task, labels=labels))

    rehash(own_bundle, renamed)
    refused = cli("gate", bundle, "--baseline", own_bundle)
    assert refused.exit_code == 2 and "another task" in refused.stderr


def test_a_baseline_that_is_none_is_named(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    assert cli("gate", bundle, "--baseline", tmp_path / "none").exit_code == 4
    (tmp_path / "report.json").write_text("{}")
    refused = cli("gate", bundle, "--baseline", tmp_path / "report.json")
    assert refused.exit_code == 4 and "schema" in refused.stderr
