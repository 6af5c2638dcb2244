"""A new profile is one that loads, fits the machine it was written on, and can be filled in."""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.core.computers import core_ultra_laptop, gpu_server, jetson_orin_nano, raspberry_pi_5, seen, smi

from edgetl.devices.catalogue import load_profile, names
from edgetl.devices.matching import differences, remarks
from edgetl.devices.scaffold import new_profile
from edgetl.errors import ConfigError
from edgetl.machine import Machine, detect

STRANGE = msgspec.structs.replace(
    detect(), system="Plan 9", arch="sparc64", cpu='Quote "and" \\ back\x7fslash \x01', features=(), board="Bö\tard",
    gpus=(), nvidia=(), l4t="",
)  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, which is not there yet."""
    monkeypatch.setenv("EDGETL_DEVICES", str(tmp_path / "config" / "devices"))
    return tmp_path / "config" / "devices"


def server(root: Path) -> Machine:
    return seen(smi(gpu_server(root, "NVIDIA L40S", "NVIDIA L4"), "echo NVIDIA L4, 23034, 8.9"), details=True)


MACHINES: dict[str, Callable[[Path], Machine]] = {
    "here": lambda root: detect(),
    "raspberry-pi": lambda root: seen(raspberry_pi_5(root), "aarch64"),
    "jetson": lambda root: seen(jetson_orin_nano(root), "aarch64"),
    "laptop": lambda root: seen(core_ultra_laptop(root)),
    "server": server,
    "strange": lambda root: STRANGE,
}


@pytest.mark.parametrize("kind", MACHINES)
def test_the_new_profile_is_the_machine_it_was_written_on(tmp_path: Path, folder: Path, kind: str) -> None:
    machine = MACHINES[kind](tmp_path / "root")
    made = new_profile("mine", "detect", machine)
    assert made.detected and Path(made.path) == folder / "mine.toml"
    profile, parent = load_profile("mine"), load_profile(made.extends)
    assert differences(profile, machine) == [] and remarks(profile, machine) == []
    assert (profile.name, profile.extends, profile.verified) == ("mine", made.extends, False)
    assert profile.hardware.cores == machine.cores and profile.hardware.features == machine.features
    assert 0 <= machine.memory_bytes / 1e9 - (profile.hardware.memory_gb or 0) < 0.1
    assert re.fullmatch(r"detected on \d{4}-\d\d-\d\d with edgetl \d.*", profile.sources["hardware.cores"])
    assert profile.engines == parent.engines and profile.accuracy == parent.accuracy
    assert "mine" in names()


def test_another_processor_or_board_is_not_the_new_device(tmp_path: Path) -> None:
    here, board = detect(), seen(raspberry_pi_5(tmp_path), "aarch64")
    new_profile("mine", "detect", here)
    new_profile("pi", "detect", board)
    assert differences(load_profile("mine"), msgspec.structs.replace(here, cpu="Another"))
    assert differences(load_profile("pi"), msgspec.structs.replace(board, board="Raspberry Pi 4 Model B Rev 1.4"))


def test_of_several_gpus_the_one_of_the_profile_is_named(tmp_path: Path) -> None:
    new_profile("mine", "nvidia-l4", server(tmp_path / "root"))
    hardware = load_profile("mine").hardware
    assert hardware.gpu == "NVIDIA L4" and hardware.gpu_memory_gb == 24.1


def test_a_named_profile_that_is_another_machine_leaves_the_hardware_open(folder: Path) -> None:
    made = new_profile("mine", "raspberry-pi-5", STRANGE)
    assert (made.extends, made.detected) == ("raspberry-pi-5", False)
    assert load_profile("mine").hardware == load_profile("raspberry-pi-5").hardware
    assert "is no Raspberry Pi 5" in (folder / "mine.toml").read_text(encoding="utf-8")


def test_a_path_is_extended_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "line.toml").write_text('name = "line"\ntitle = "Line"\nengines = [{ name = "openvino" }]\n')
    monkeypatch.chdir(tmp_path)
    made = new_profile("mine", "line.toml", detect())
    assert [engine.name for engine in load_profile(made.path).engines] == ["openvino"]


def test_what_is_commented_out_can_be_filled_in(tmp_path: Path) -> None:
    made = Path(new_profile("mine", "detect", detect(), tmp_path / "mine.toml").path)
    filled = made.read_text(encoding="utf-8")
    figures = {"p50_ms": 20, "p99_ms": 30, "per_second": 5, "cold_start_ms": 900, "rss_mb": 300, "size_mb": 50}
    for key, value in {**figures, "max_class_drop_points": 3}.items():
        assert f"# {key} =  " in filled
        filled = filled.replace(f"# {key} =  ", f"{key} = {value}  ")
    filled = re.sub(r"^# (\[|[a-z_0-9]+ = )", r"\1", filled, flags=re.MULTILINE)
    made.write_text(filled, encoding="utf-8")
    profile = load_profile(str(made))
    assert {key: getattr(profile.latency, key) for key in figures} == figures
    assert profile.accuracy.max_class_drop_points == 3 and profile.verified
    assert profile.engines == load_profile(profile.extends or "").engines


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("raspberry-pi-5", "taken"),
        ("host", "taken"),
        ("detect", "taken"),
        ("Mine", "no name"),
        ("my box", "no name"),
        ("../mine", "no name"),
        ("mine.toml", "no name"),
        ("-mine", "no name"),
        ("", "no name"),
        ("m" * 101, "no name"),
    ],
)
def test_names_that_are_refused(folder: Path, name: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        new_profile(name, "detect", detect())
    assert not folder.exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    made = Path(new_profile("mine", "detect", detect()).path)
    made.write_text("precious")
    (tmp_path / "link.toml").symlink_to(tmp_path / "nowhere")
    for out in (None, made, tmp_path / "link.toml"):
        with pytest.raises(ConfigError, match="already there"):
            new_profile("mine", "detect", detect(), out)
    assert made.read_text() == "precious" and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("source", "out", "problem"),
    [
        ("raspberry-pi-6", None, "unknown device `raspberry-pi-6`"),
        ("nowhere.toml", None, "cannot be read"),
        ("detect", "missing/mine.toml", "cannot be written"),
        ("detect", "mine.json", "does not end in `.toml`"),
    ],
)
def test_mistakes_are_said_and_leave_nothing(
    tmp_path: Path, folder: Path, source: str, out: str | None, problem: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        new_profile("mine", source, detect(), tmp_path / out if out else None)
    assert not folder.exists() and list(tmp_path.iterdir()) == []
