"""Every known fault, planted in a real bundle, is noticed by the layer that should notice it."""

import json
from pathlib import Path

import pytest
from tests.conftest import Cli

from edgetl.bundle import open_bundle
from edgetl.devices.catalogue import host_profile
from edgetl.export.planted import known_faults
from edgetl.export.selftest import SelfTest, selftest

BY = {
    "red and blue swapped": "numerics",
    "mean and std of another library": "numerics",
    "0–255 pixels fed as 0–1": "numerics",
    "two outputs exchanged": "numerics",
    "one class dead": "numerics",
    "temperature lost": "numerics",
    "weights rounded to bf16": "numerics",
    "computed in bf16": "precision",
    "weights quantised per tensor": "numerics",
    "model file of another training": "numerics",
    "corrupted block, hash renewed": "numerics",
    "corrupted block": "fingerprint",
    "labels.txt permuted": "fingerprint",
    "labels permuted everywhere": "fingerprint",
    "provider falls back": "engine",
}
"""Fault → the layer that sees it. Only a hash or a recorded name can show the three of `fingerprint`."""

NAMED = {
    "red and blue swapped": "red and blue swapped",
    "mean and std of another library": "mean and std of ImageNet",
    "0–255 pixels fed as 0–1": "0–255 pixels fed as 0–1",
    "two outputs exchanged": "outputs exchanged",
}


def judge(result: SelfTest) -> None:
    assert result.verdict == "pass", [trial for trial in result.trials if trial.outcome == "missed"]
    assert "fail" not in result.clean.values()
    for trial in result.trials:
        if trial.outcome == "not applicable":
            continue
        assert BY.get(trial.fault, "input") in trial.by.split(", "), trial
        assert trial.cause.startswith(NAMED.get(trial.fault, "")), trial
        if trial.fault.startswith("preparation: "):
            assert trial.cause == trial.fault.removeprefix("preparation: ")


def test_every_fault_in_the_fp32_graph_is_noticed(bundle: Path) -> None:
    opened = open_bundle(bundle)
    result = selftest(opened, host_profile(), variants=["onnxruntime-fp32"])
    judge(result)
    assert len(result.trials) == len(known_faults(opened.manifest.task)) >= 22


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["onnxruntime-int8", "openvino-fp32", "openvino-int8"])
def test_every_fault_in_every_variant_is_noticed(bundle: Path, variant: str) -> None:
    judge(selftest(open_bundle(bundle), host_profile(), variants=[variant]))


def test_a_bundle_without_golden_set_cannot_test_itself(run: Path, tmp_path: Path, cli: Cli) -> None:
    assert cli("export", run, "-o", tmp_path / "b", "--golden", "none", "--variants", "onnxruntime-fp32").exit_code == 0
    refused = cli("selftest", tmp_path / "b")
    assert refused.exit_code == 4 and "golden set" in refused.stderr


@pytest.mark.slow
def test_the_command_lists_every_trial(bundle: Path, cli: Cli) -> None:
    done = cli("selftest", bundle, "--variants", "onnxruntime-fp32", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert {"fault", "variant", "outcome", "by", "cause"} == set(result["trials"][0])
