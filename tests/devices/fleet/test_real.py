"""`--on` and `--fleet` over a real `sshd`: the same report, the same exit codes, the plan brought home."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Cli
from tests.devices.remote.machine import Machine, running

from edgetl.bundle import open_bundle
from edgetl.devices import measurements
from edgetl.machine import detect

pytestmark = pytest.mark.slow

PROFILE = """name = "mine"
title = "Mine"
extends = "below.toml"
[numerics.int8]
min_sqnr_db = {int8}
"""
BELOW = 'name = "below"\ntitle = "Below"\n[[engines]]\nname = "onnxruntime"\noptions = { threads = 1 }\n'
FP32 = ("--variants", "onnxruntime-fp32")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with running(tmp_path_factory.mktemp("device")) as made:
        yield made


def on(device: Machine) -> tuple[object, ...]:
    return ("--on", device.target().address, "--remote-edgetl", device.edgetl, "--ssh-config", device.config)


def profile(folder: Path, *, int8: float = 12.0) -> Path:
    (folder / "below.toml").write_text(BELOW)
    path = folder / "mine.toml"
    path.write_text(PROFILE.format(int8=int8))
    return path


def test_a_check_elsewhere_is_the_check_here(own_bundle: Path, dataset: Path, device: Machine, cli: Cli) -> None:
    asked = ("check", own_bundle, *FP32, "--data", dataset / "val", "--json")
    here, there = cli(*asked), cli(*asked, *on(device))
    assert here.exit_code == there.exit_code == 0, there.stderr
    mine, its = json.loads(here.stdout), json.loads(there.stdout)
    for report in (mine, its):
        del report["variants"][0]["latency_ms"]
    assert its == mine and its["bundle"] == str(own_bundle)
    kept = measurements.read(open_bundle(own_bundle)).records
    assert len(kept) == 2 and {each.command for each in kept} == {"check"}


def test_verdicts_and_errors_there_have_the_same_exit_codes_here(
    own_bundle: Path, tmp_path: Path, device: Machine, cli: Cli
) -> None:
    asked = ("check", own_bundle, *on(device), "--variants", "onnxruntime-int8", "--device")
    failed = cli(*asked, profile(tmp_path, int8=99.0))
    assert failed.exit_code == 7 and "numerics" in failed.stdout, failed.output
    undecided = cli(*asked, profile(tmp_path), "--strict")
    assert undecided.exit_code == 8 and undecided.stderr.count("warning: undecided") == 1, undecided.output
    other = cli(*asked, "jetson-orin-nano")
    assert other.exit_code == 3 and "nothing was judged" in other.stderr
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"no image")
    broken = cli(*asked, profile(tmp_path), "--unlabelled", tmp_path / "bad")
    assert broken.exit_code == 5 and str(tmp_path / "bad" / "x.png") in broken.stderr, broken.output
    assert broken.stderr.count("error:") == 1


def test_a_gate_elsewhere_takes_a_baseline_and_writes_the_report_here(
    own_bundle: Path, bundle: Path, tmp_path: Path, device: Machine, cli: Cli
) -> None:
    out = tmp_path / "report.json"
    asked = ("gate", own_bundle, *on(device), *FP32, "--launches", "5", "--margin", "100")
    first = cli(*asked, "--baseline", bundle, "-o", out)
    assert first.exit_code in (0, 7), first.output
    written = json.loads(out.read_text())
    assert written["baseline"] == str(bundle) and written["answers"] and written["machine"]["cpu"] == detect().cpu
    second = cli(*asked, "--baseline", out, "--json")
    assert second.exit_code in (0, 7) and json.loads(second.stdout)["baseline"] == str(out), second.stderr


def test_a_tune_elsewhere_brings_its_plan(own_bundle: Path, tmp_path: Path, device: Machine, cli: Cli) -> None:
    done = cli("tune", own_bundle, *on(device), "--device", profile(tmp_path), "--minutes", "0.01", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    path = own_bundle / "plans" / "mine.json"
    assert report["plan_path"] == str(path) and json.loads(path.read_text()) == report["plan"]


def test_a_bench_elsewhere(own_bundle: Path, device: Machine, cli: Cli) -> None:
    asked = ("bench", own_bundle, *on(device), *FP32)
    done = cli(*asked, "--seconds", "0.1", "--scenario", "single-stream")
    assert done.exit_code == 0 and "single-stream" in done.stdout and "offline" not in done.stdout, done.output
    compared = cli(*asked, "--compare", "openvino-fp32", "--launches", "2", "--json")
    assert compared.exit_code == 0, compared.stderr
    assert json.loads(compared.stdout)["b"]["subject"]["bundle"] == str(own_bundle)


def test_two_devices_are_judged_though_a_third_is_dead(
    own_bundle: Path, tmp_path: Path, device: Machine, cli: Cli
) -> None:
    entry = '[[devices]]\nname = "{}"\naddress = "{}"\n'
    address, fleet = device.target().address, tmp_path / "devices.toml"
    profile(tmp_path)
    common = ("check", own_bundle, "--fleet", fleet, "--remote-edgetl", device.edgetl, "--ssh-config", device.config)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        fleet.write_text(
            entry.format("one", address) + 'variants = ["onnxruntime-fp32"]\n'
            + entry.format("two", f"ssh://127.0.0.1:{device.port}")
            + 'device = "mine.toml"\nvariants = ["onnxruntime-fp32"]\n'
            + entry.format("off", f"ssh://127.0.0.1:{taken.getsockname()[1]}")
        )  # fmt: skip
        done = cli(*common, "--json")
    assert done.exit_code == 3, done.stderr
    one, two, off = json.loads(done.stdout)["devices"]
    assert one["report"]["verdict"] == two["report"]["verdict"] == "pass", done.stderr
    assert (one["report"]["device"], two["report"]["device"]) == ("host", "mine")
    assert off["status"] == "error" and "Connection refused" in off["error"]["message"]
    assert len(measurements.read(open_bundle(own_bundle)).records) == 2
