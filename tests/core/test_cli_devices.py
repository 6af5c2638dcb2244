"""`edgetl devices …` at the command line: what this machine is, the profiles, and one of one's own."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.conftest import Cli
from tests.core.computers import core_ultra_laptop, gpu_server, seen, smi, write

from edgetl.devices.catalogue import load_profile, names
from edgetl.show_devices import detected_view


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGETL_DEVICES", str(tmp_path / "devices"))
    return tmp_path / "devices"


def test_detect_as_json(cli: Cli) -> None:
    result = cli("devices", "detect", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert {"closest", "differences", "machine", "remarks", "engines"} <= set(told)
    assert told["closest"] in names() and told["machine"]["host_cores"] >= told["machine"]["cores"]
    assert set(told["engines"]) == {"onnxruntime", "openvino", "tensorrt"}
    assert told["engines"]["openvino"] == version("openvino")


def test_detect_for_people(cli: Cli) -> None:
    result = cli("devices", "detect")
    assert result.exit_code == 0, result.stderr
    for row in ("processor", "cores", "memory", "closest profile", "differences", "remarks", "engines"):
        assert row in result.stdout


def view(machine: object) -> str:
    import msgspec
    from rich.console import Console

    console = Console(width=160)
    with console.capture() as capture:
        engines = {"openvino": "2026.4", "tensorrt": None}
        result = {"machine": machine, "closest": "x", "differences": [], "remarks": ["small [box]"], "engines": engines}
        console.print(detected_view(msgspec.to_builtins(result)))
    return capture.get()


def test_the_table_says_what_may_be_used(tmp_path: Path) -> None:
    core_ultra_laptop(tmp_path, nodes=False)
    limits = {"sys/fs/cgroup/cpu.max": "200000 100000\n", "sys/fs/cgroup/memory.max": "4000000000\n"}
    shown = view(seen(write(tmp_path, {**limits, ".dockerenv": ""})))
    assert "2 of 22 may be used" in shown and "4.0 GB of 33.2 GB may be used" in shown and "docker" in shown
    assert "Intel Arc Graphics (Meteor Lake) (8086:7d55, i915), not usable: its `/dev/dri` is not here" in shown
    assert "NVIDIA" not in shown and "small [box]" in shown
    assert "openvino 2026.4" in shown and "not installed" in shown


def test_the_table_shows_a_gpu_with_its_memory(tmp_path: Path) -> None:
    server = smi(gpu_server(tmp_path, "NVIDIA L4", "NVIDIA T4"), "echo NVIDIA L4, 23034, 8.9")
    assert "NVIDIA L4, 24.2 GB, compute capability 8.9; NVIDIA T4, memory unknown" in view(seen(server, details=True))


def test_a_profile_of_ones_own_is_written_listed_shown_and_checked(cli: Cli, bundle: Path, folder: Path) -> None:
    made = cli("devices", "new", "line-3", "--from", "detect")
    assert made.exit_code == 0, made.stderr
    assert made.stdout == f"{folder / 'line-3.toml'}\n" and "extends" in made.stderr
    shown = cli("devices", "show", "line-3")
    assert shown.stdout == (folder / "line-3.toml").read_text(encoding="utf-8")
    assert json.loads(cli("devices", "show", "line-3", "--json").stdout)["hardware"]["cores"] >= 1
    assert str(folder) in cli("devices", "list").stdout
    origin = {each["name"]: each["from"] for each in json.loads(cli("devices", "list", "--json").stdout)}
    assert origin["line-3"] == str(folder / "line-3.toml") and origin["raspberry-pi-5"] == "edgetl"
    assert json.loads(cli("devices", "detect", "--json").stdout)["closest"] == "line-3"
    report = cli("check", bundle, "--device", "line-3", "--variants", "onnxruntime-fp32", "--json")
    assert report.exit_code == 0, report.stderr
    assert json.loads(report.stdout)["device"] == "line-3"
    assert [each["verdict"] for each in json.loads(report.stdout)["variants"]] == ["pass"]


def test_new_says_what_it_did_as_json_and_refuses_to_do_it_twice(cli: Cli, tmp_path: Path) -> None:
    arguments = ("devices", "new", "mine", "--from", "x86-64-cpu", "-o", tmp_path / "mine.toml", "--json")
    told = json.loads(cli(*arguments).stdout)
    assert told["path"] == str(tmp_path / "mine.toml") and told["extends"] == "x86-64-cpu"
    assert load_profile(told["path"]).name == "mine"
    again = cli(*arguments)
    assert again.exit_code == 2 and again.stdout == "" and "already there" in again.stderr


def test_the_schema_is_printed(cli: Cli) -> None:
    schema = json.loads(cli("devices", "schema").stdout)
    assert schema["additionalProperties"] is False and {"name", "title", "hardware", "engines"} <= set(
        schema["properties"]
    )


def test_an_unknown_device_is_said_with_the_one_that_was_meant(cli: Cli) -> None:
    wrong = cli("devices", "show", "jetson-orin-nan")
    assert wrong.exit_code == 2 and "did you mean `jetson-orin-nano`" in wrong.stderr


def test_a_place_that_cannot_be_looked_at_is_an_error_with_a_hint(cli: Cli, folder: Path) -> None:
    result = cli("devices", "new", "line-3", "-o", folder.parent / ("x" * 300 + ".toml"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot be written: File name too long" in result.stderr
    assert "hint: choose a place" in result.stderr
