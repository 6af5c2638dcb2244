"""`--on` and `--fleet` on the command line: what is refused, the table, the JSON, the exit code, what is kept.

The devices are a function at the seam where `run_remote` stands; tests/devices/fleet/test_real.py has real ones.
"""

import json
import shutil
import socket
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import typer
from tests.conftest import Cli
from typer.testing import CliRunner, Result

from edgetl.bundle import open_bundle
from edgetl.cli_remote import Asked, Place, ask_fleet, fleet_code
from edgetl.devices import measurements
from edgetl.devices.fleet.summary import DeviceError, DeviceReport, FleetReport
from edgetl.devices.remote.run import RemoteResult
from edgetl.devices.remote.target import Target
from edgetl.devices.verdict import Interval, Latency, Reason, Report, VariantReport
from edgetl.errors import DependencyError
from edgetl.files import to_json
from edgetl.machine import Machine
from edgetl.publishing import publication, publish_fleet
from edgetl.show_fleet import fleet_table
from edgetl.types import Verdict

BOARD = Machine(
    system="Linux", arch="aarch64", cpu="Cortex-A76", features=("neon",), cores=4, memory_bytes=8 * 2**30,
    board="Raspberry Pi 5", gpus=(),
)  # fmt: skip

FLEET = """
[[devices]]
name = "good"
address = "ssh://pass"
device = "raspberry-pi-5"
[[devices]]
name = "bad"
address = "ssh://fail"
[[devices]]
name = "off"
address = "ssh://dead"
variants = ["openvino-int8"]
"""


def report(verdict: Verdict) -> Report:
    reason = Reason(layer="numerics", verdict=verdict, text="far from torch", cause="red and blue are swapped")
    variant = VariantReport(
        id="openvino-int8", verdict=verdict, reasons=(reason,), latency_ms=Latency(p50=12.345, p99=None),
        drop_points=Interval(value=0.5, low=-1.0, high=2.0),
    )  # fmt: skip
    return Report(bundle="x", device="host", verdict=verdict, variants=(variant,), machine=BOARD)


class Devices:
    """Each answers with the verdict that is its host's name; `told` are the command lines by host."""

    def __init__(self) -> None:
        self.told: dict[str, list[str | Path]] = {}

    def __call__(
        self, target: Target, arguments: Sequence[str | Path], *, bundle: Path, say: Callable[[str], None],
        stop: threading.Event,
    ) -> RemoteResult:  # fmt: skip
        self.told[target.host] = list(arguments)
        if target.host == "dead":
            raise DependencyError("`ssh://dead` cannot be reached", hint="is it switched on?")
        verdict: Verdict = "pass" if target.host == "pass" else "fail"
        return RemoteResult(exit_code=7, output=to_json(report(verdict)), messages="", brought=())


def ask(devices: Devices, bundle: Path, fleet: Path, *, as_json: bool, **asked: str | None) -> Result:
    def command() -> None:
        place = Place(on=None, fleet=fleet, edgetl=None, ssh_config=None, at_once=2)
        opened = Asked(command="check", kind=Report, bundle=open_bundle(bundle), **asked)  # type: ignore[arg-type]
        files = publication(fleet.with_suffix(".xml"), fleet.with_suffix(".md"), None, fleet)
        write = partial(publish_fleet, files, strict=False)
        ask_fleet(place, opened, fleet_table, publish=write, as_json=as_json, runner=devices)

    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [])


def test_a_fleet_is_one_table_one_json_and_one_exit_code(own_bundle: Path, tmp_path: Path) -> None:
    fleet = tmp_path / "devices.toml"
    fleet.write_text(FLEET)
    shown = ask(Devices(), own_bundle, fleet, as_json=False)
    assert shown.exit_code == 7, shown.output
    rows = {line.split()[0]: line for line in reversed(shown.stdout.splitlines()) if line.strip()}
    assert "pass" in rows["good"] and "12.35" in rows["good"] and "+0.50 (-1.00 … 2.00)" in rows["good"]
    assert "fail" in rows["bad"] and rows["bad"].rstrip().endswith("numerics") and "error" in rows["off"]
    assert "bad openvino-int8 numerics: far from torch — red and blue are swapped" in shown.stdout
    assert "off error: `ssh://dead` cannot be reached – is it switched on?" in shown.stdout
    assert "judged on 2 of 3 devices: fail" in shown.stdout
    for name in ("good", "bad", "off"):
        assert f"{name}: asking ssh://" in shown.stderr
    suites = [suite.attrib["name"].split()[-1] for suite in ET.fromstring((tmp_path / "devices.xml").read_text())]
    assert suites == ["good", "bad", "off"] and "error: off" in (tmp_path / "devices.md").read_text()

    printed = json.loads(ask(Devices(), own_bundle, fleet, as_json=True).stdout)
    assert printed["bundle"] == str(own_bundle) and printed["verdict"] == "fail"
    good, _, off = printed["devices"]
    assert (good["name"], good["address"], good["status"]) == ("good", "ssh://pass", "judged")
    assert good["report"]["variants"][0]["latency_ms"]["p50"] == 12.345 and good["error"] is None
    assert off["status"] == "error" and off["report"] is None
    assert off["error"] == {"message": "`ssh://dead` cannot be reached", "hint": "is it switched on?", "exit_code": 3}

    kept = measurements.read(open_bundle(own_bundle)).records
    assert [(each.command, each.machine) for each in kept[-2:]] == [("check", BOARD)] * 2


def test_what_each_device_is_told(own_bundle: Path, tmp_path: Path) -> None:
    fleet, devices = tmp_path / "devices.toml", Devices()
    fleet.write_text(FLEET)
    ask(devices, own_bundle, fleet, as_json=True)
    assert devices.told["pass"] == ["check", own_bundle, "--device", "raspberry-pi-5", "--json"]
    every = ",".join(each.id for each in open_bundle(own_bundle).manifest.variants)
    assert devices.told["fail"] == ["check", own_bundle, "--variants", every, "--json"], "no plan of this computer"
    assert devices.told["dead"] == ["check", own_bundle, "--variants", "openvino-int8", "--json"]
    ask(devices, own_bundle, fleet, as_json=True, variants="onnxruntime-fp32", device="x86-64-cpu")
    rest = ["--variants", "onnxruntime-fp32", "--json"]
    assert devices.told["pass"] == ["check", own_bundle, "--device", "raspberry-pi-5", *rest]
    assert devices.told["dead"] == ["check", own_bundle, "--device", "x86-64-cpu", *rest]


@pytest.mark.parametrize(
    ("verdict", "errors", "strict", "code"),
    [
        ("pass", [], True, 0),
        ("fail", [3], False, 7),
        ("pass", [3], False, 3),
        ("undecided", [4, 4], True, 4),
        ("undecided", [2, 4], True, 3),
        ("undecided", [], True, 8),
        ("undecided", [], False, 0),
        ("skipped", [3, 3], False, 3),
        (None, [], True, 0),
        (None, [6], False, 6),
    ],
)
def test_the_exit_code_is_the_worst_of_all(
    verdict: Verdict | None, errors: list[int], strict: bool, code: int
) -> None:  # fmt: skip
    devices = tuple(
        DeviceReport(
            name=str(each), address="ssh://x", status="error", seconds=1.0,
            error=DeviceError(message="", hint=None, exit_code=each),
        )
        for each in errors
    )  # fmt: skip
    assert fleet_code(FleetReport(bundle="x", verdict=verdict, devices=devices), strict=strict) == code


ON = ("--on", "ssh://pi@10.0.0.7")


@pytest.mark.parametrize(
    ("command", "arguments", "told"),
    [
        ("check", (*ON, "--fleet", "devices.toml"), "`--on` is one computer, `--fleet` many"),
        ("check", ("--remote-edgetl", "/opt/edgetl"), "`--remote-edgetl` says how to reach a computer"),
        ("gate", ("--ssh-config", "x"), "`--ssh-config` says how to reach a computer"),
        ("check", ("--on", "10.0.0.7"), "`10.0.0.7` is no address"),
        ("check", (*ON, "--ssh-config", "nowhere.conf"), "nowhere.conf"),
        ("check", (*ON, "--device", "rasperry-pi-5"), "did you mean `raspberry-pi-5`"),
        ("check", ("--fleet", "nowhere.toml"), "`nowhere.toml` cannot be read"),
        ("gate", ("--fleet", "devices.toml", "-o", "report.json"), "`-o` writes one report"),
        ("bench", (*ON, "--raw", "raw.npz"), "`--raw` cannot be written"),
        ("bench", (*ON, "--compare", "openvinno"), "did you mean `openvino`"),
        ("tune", ON, "`--on` needs `--device`"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    bundle: Path, cli: Cli, command: str, arguments: tuple[str, ...], told: str
) -> None:
    result = cli(command, bundle, *arguments)
    assert result.exit_code == 2 and told in result.stderr, result.output


def test_what_can_be_seen_here_needs_no_device(bundle: Path, own_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    unknown = cli("check", bundle, *ON, "--variants", "openvino-int9")
    assert unknown.exit_code == 4 and "did you mean `openvino-int8`" in unknown.stderr
    data = cli("check", bundle, *ON, "--data", tmp_path / "none")
    assert data.exit_code == 5 and "does not exist" in data.stderr
    other = cli("bench", bundle, *ON, "--variants", "openvino-int8", "--compare", own_bundle)
    assert other.exit_code == 2 and "is another bundle" in other.stderr


def test_a_computer_that_is_not_there_exits_3(bundle: Path, cli: Cli) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("OpenSSH's client is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        result = cli("check", bundle, "--on", f"ssh://127.0.0.1:{taken.getsockname()[1]}", "--json")
    assert result.exit_code == 3 and "Connection refused" in result.stderr and not result.stdout
