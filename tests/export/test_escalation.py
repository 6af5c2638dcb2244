"""An int8 variant that loses too much is made again with more effort, and the bundle says what it took."""

import json
from pathlib import Path

import pytest
from tests.conftest import Cli
from tests.export.ruin import ruin, ruin_beyond_equalising

from edgetl.bundle import open_bundle

ALLOWED_POINTS = 1.0
"""Of the profile that judges an export when nobody says otherwise."""


@pytest.fixture
def ruined(own_run: Path) -> Path:
    ruin_beyond_equalising(own_run)
    return own_run


@pytest.mark.parametrize(
    "variant",
    ["onnxruntime-int8", *(pytest.param(f"{e}-int8", marks=pytest.mark.slow) for e in ("openvino", "tensorrt"))],
)
def test_a_ruined_variant_is_recovered_and_the_bundle_tells_how(
    ruined: Path, tmp_path: Path, cli: Cli, variant: str
) -> None:
    result = cli("export", ruined, "-o", tmp_path / "b", "--variants", f"onnxruntime-fp32,{variant}", "--json")
    assert result.exit_code == 0, result.stderr
    printed = json.loads(result.stdout)["variants"][1]
    assert printed["held"] and printed["steps"] > 1 and "plain int8 lost" in printed["reason"]
    record = open_bundle(tmp_path / "b").variant(variant)
    plain, used = record.attempts[0], record.quantisation
    assert plain.step == "plain" and plain.drop_points is not None and plain.drop_points > 5
    assert used is not None and used.kept and used == record.attempts[-1].quantisation
    assert "kept in floating point" in (tmp_path / "b" / "report.html").read_text()
    if variant != "tensorrt-int8":
        looks = sum(attempt.drop_points is not None for attempt in record.attempts)
        checked = json.loads(cli("check", tmp_path / "b", "--variants", variant, "--json").stdout)["variants"][0]
        task = next(reason["text"] for reason in checked["reasons"] if reason["layer"] == "task")
        assert f"the {looks} candidates tried on these samples share the 5 %" in task


def test_a_channel_that_drowns_the_others_is_equalised_at_no_cost(own_run: Path, tmp_path: Path, cli: Cli) -> None:
    ruin(own_run)
    result = cli("export", own_run, "-o", tmp_path / "b", "--variants", "onnxruntime-int8", "--json")
    assert result.exit_code == 0, result.stderr
    used = open_bundle(tmp_path / "b").manifest.variants[0].quantisation
    assert used is not None and used.equalised and not used.kept


@pytest.mark.slow
def test_a_variant_that_cannot_hold_a_bound_is_kept_as_good_as_it_got_and_export_exits_with_7(
    ruined: Path, tmp_path: Path, cli: Cli
) -> None:
    """No int8 answers 90 images all alike, and a millionth of a point allows no other answer."""
    ruin(ruined, "stages.0.body.1", ("stages.0.body.3",))
    ruin(ruined, "stages.2.body.1", ("stages.2.body.3",))
    options = ("--max-drop", "0.000001", "--calibration-samples", "4", "--per-tensor")
    result = cli("export", ruined, "-o", tmp_path / "b", "--variants", "onnxruntime-int8", *options, "--json")
    record = open_bundle(tmp_path / "b").manifest.variants[0]
    drops = [attempt.drop_points for attempt in record.attempts if attempt.drop_points is not None]
    if min(drops) > 0:
        assert result.exit_code == 7 and not json.loads(result.stdout)["variants"][0]["held"]
    used = next(a for a in record.attempts if a.quantisation == record.quantisation)
    assert used.drop_points == min(drops)


def test_a_variant_is_made_again_only_when_it_lost_too_much(bundle: Path) -> None:
    for record in open_bundle(bundle).manifest.variants:
        for attempt in record.attempts[:-1]:
            assert attempt.drop_points is not None and attempt.drop_points > ALLOWED_POINTS
        assert len(record.attempts) != 1, "what was made once has nothing to tell"
        assert (record.quantisation is not None) == (record.precision == "int8")


def test_calibration_is_recorded_with_its_curve(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    assert len(str(manifest.source.calibration["fingerprint"])) == 64
    assert manifest.source.options["calibration_samples"] == manifest.source.calibration["samples"] == 60
