"""`edgetl tune` on the command line: the table, the JSON, the record, the exit codes."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from edgetl.bundle import open_bundle
from edgetl.cli_tune import tune
from edgetl.devices import measurements
from edgetl.runtime.plan import own_plan

PROFILE = """name = "mine"
title = "mine"
[[engines]]
name = "onnxruntime"
options = {{ threads = 1 }}
[numerics.fp32]
max_abs_dlogit = {fp32}
[numerics.int8]
min_sqnr_db = {int8}
"""


def call(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(tune)
    return CliRunner().invoke(app, [*map(str, arguments), "--minutes", "0.01"])


def profile(folder: Path, *, fp32: float = 1e-3, int8: float = 12.0) -> Path:
    path = folder / "mine.toml"
    path.write_text(PROFILE.format(fp32=fp32, int8=int8))
    return path


def test_a_plan_and_a_record_are_kept(own_bundle: Path, tmp_path: Path) -> None:
    manifest = (own_bundle / "manifest.json").read_bytes()
    done = call(own_bundle, "--device", profile(tmp_path), "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["device"] == "mine" and report["plan"]["variant"].startswith("onnxruntime")
    assert Path(report["plan_path"]) == own_bundle / "plans" / "mine.json"
    bundle = open_bundle(own_bundle)
    assert own_plan(bundle) is not None and (own_bundle / "manifest.json").read_bytes() == manifest
    record = measurements.read(bundle).records[-1]
    assert record.command == "tune" and record.result["plan"] == report["plan"]


def test_the_table_says_what_was_chosen_for_what(own_bundle: Path, tmp_path: Path) -> None:
    done = call(own_bundle, "--device", profile(tmp_path))
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.rstrip().endswith("latency")]) == 1
    assert len([line for line in lines if line.rstrip().endswith("throughput")]) == 1
    assert "mine.json" in done.stdout


@pytest.mark.parametrize(
    ("fp32", "int8", "strict", "code"),
    [(1e-12, 99.0, False, 7), (1e-12, 12.0, True, 8)],
)
def test_without_a_variant_that_may_ship_the_exit_code_says_why(
    own_bundle: Path, tmp_path: Path, fp32: float, int8: float, strict: bool, code: int
) -> None:
    done = call(
        own_bundle, "--device", profile(tmp_path, fp32=fp32, int8=int8), *(["--strict"] if strict else [])
    )  # fmt: skip
    assert done.exit_code == code, done.output
    assert "no plan was written" in done.stdout and "no candidate" in done.stdout
    assert not list((own_bundle / "plans").glob("*.json"))


def test_a_device_that_is_not_this_one_exits_3(own_bundle: Path) -> None:
    done = call(own_bundle, "--device", "jetson-orin-nano")
    assert done.exit_code == 3 and "nothing can be tuned" in done.stderr
