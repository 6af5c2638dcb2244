"""The command `bench`: what it prints, what it refuses, what it writes."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Cli

QUICK = ("--seconds", "0.1", "--variants", "openvino-int8")


def test_the_json_has_the_scenarios_asked_for(own_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    raw = tmp_path / "raw.npz"
    result = cli("bench", own_bundle, *QUICK, "--scenario", "multi-stream", "--timed", "bytes", "--raw", raw, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    variant = report["variants"][0]
    assert set(report) >= {"bundle", "device", "variants"} and report["options"]["min_seconds"] == 0.1
    assert set(variant["scenarios"]) == {"multi-stream"} and variant["timed"] == "bytes"
    multi = variant["scenarios"]["multi-stream"]
    with np.load(raw, allow_pickle=False) as samples:
        times, about = samples["openvino-int8/multi-stream/bytes"], json.loads(str(samples["about"]))
    assert len(times) == multi["queries"] and np.median(times) == pytest.approx(multi["p50_ms"])
    assert about["unit"] == "ms" and about["report"]["variants"][0]["id"] == "openvino-int8"


def test_the_table_says_units_counts_and_intervals(own_bundle: Path, cli: Cli) -> None:
    result = cli("bench", own_bundle, *QUICK)
    assert result.exit_code == 0, result.stderr
    for words in ("p50 ms (95 %)", "images/s (95 %)", "queries", "warm-up", "the engine alone", "golden set", " … "):
        assert words in result.stdout


@pytest.mark.slow
def test_all_scenarios_and_all_ways_of_timing_make_a_table(own_bundle: Path, dataset: Path, cli: Cli) -> None:
    arguments = ["--scenario", "all", "--inputs", dataset / "val", "--bound-ms", "5", "--concurrency", "2"]
    for timed in ("engine", "preprocessing", "bytes"):
        arguments += ["--timed", timed]
    result = cli("bench", own_bundle, *QUICK, *arguments)
    assert result.exit_code == 0, result.stderr
    for words in ("single-stream", "multi-stream", "offline", "server", "cold-start", "p99 ≤ 5 ms", "of 90 images"):
        assert words in result.stdout
    assert "16 × 2" in result.stdout, "batch × callers"


@pytest.mark.slow
def test_two_subjects_are_compared_in_turns(bundle: Path, own_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    raw = tmp_path / "raw.npz"
    arguments = ("--variants", "onnxruntime-int8", "--compare", bundle, "--launches", "2", "--raw", raw)
    result = cli("bench", own_bundle, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["a"]["subject"]["bundle"] == str(own_bundle) and report["b"]["subject"]["bundle"] == str(bundle)
    assert report["ratio"]["low"] <= report["ratio"]["value"] <= report["ratio"]["high"]
    with np.load(raw) as samples:
        assert samples["a"].shape == samples["b"].shape == (2, 8, 10)
    shown = cli("bench", own_bundle, "--compare", "openvino", "--compare", "onnxruntime-int8", "--launches", "2")
    assert shown.exit_code == 0 and "times as long as a (2 launches × 80 queries each, in turns)" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--scenario", "singel-stream"), "did you mean `single-stream`"),
        (("--timed", "byte"), "did you mean `bytes`"),
        (("--bound-ms", "-1"), "`--bound-ms` cannot be `-1.0`"),
        (("--bound-ms", "nan"), "`--bound-ms` cannot be"),
        (("--raw", "nowhere/raw.npz"), "`nowhere/raw.npz` cannot be written"),
        (("--raw", "raw.csv"), "`--raw` takes a .npz file"),
        (("--compare", "openvinno"), "did you mean `openvino`"),
        (("--compare", "openvino", "--timed", "bytes"), "times single queries to the engine alone"),
        (("--compare", "openvino", "--compare", "openvino", "--compare", "openvino"), "two subjects are compared"),
        (("--compare", "openvino", "--compare", "/", "--variants", "openvino-int8"), "two subjects are compared"),
    ],
)
def test_what_makes_no_sense_is_refused_before_measuring(
    bundle: Path, cli: Cli, arguments: tuple[str, ...], message: str
) -> None:
    result = cli("bench", bundle, *arguments)
    assert result.exit_code == 2 and message in result.stderr


def test_a_folder_that_is_not_there_is_a_data_error(own_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    result = cli("bench", own_bundle, *QUICK, "--inputs", tmp_path / "none")
    assert result.exit_code == 5 and "does not exist" in result.stderr
