"""Profiles are data, strict, and know which machine they are not."""

from pathlib import Path

import pytest
from tests.conftest import Cli

from edgetl.devices.catalogue import load_profile, names
from edgetl.devices.matching import closest, differences
from edgetl.errors import ConfigError
from edgetl.machine import Machine, detect

BOARD = Machine(
    system="Linux", arch="aarch64", cpu="Cortex-A76", features=("neon", "dotprod"), cores=4, memory_bytes=8 * 2**30,
    board="Raspberry Pi 5 Model B Rev 1.0", gpus=(),
)  # fmt: skip


@pytest.mark.parametrize("name", names())
def test_shipped_profiles_load_under_their_own_name_and_cite_a_source(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name and profile.source and profile.engines


def test_a_board_is_recognised_and_another_is_not() -> None:
    assert differences(load_profile("raspberry-pi-5"), BOARD) == []
    assert closest(BOARD)[0].name == "raspberry-pi-5"
    told = differences(load_profile("jetson-orin-nano"), BOARD)
    assert any("Orin Nano" in line for line in told) and any("GPU" in line for line in told)


def test_this_machine_is_described() -> None:
    machine = detect()
    assert machine.arch and machine.cores >= 1 and machine.memory_bytes > 2**28


def test_a_profile_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\ntitle = "Mine"\nengines = [{ name = "openvino", options = { threads = 1 } }]\n')
    assert load_profile(str(path)).options("openvino") == {"threads": 1}
    assert load_profile(str(path)).options("onnxruntime") is None
    path.write_text('name = "mine"\ntitle = "Mine"\nengines = []\n[accuracy]\nmax_drop_points = -1\n')
    with pytest.raises(ConfigError, match="max_drop_points"):
        load_profile(str(path))


def test_the_device_commands(cli: Cli) -> None:
    assert "raspberry-pi-5" in cli("devices", "list").stdout
    assert 'board = "Orin Nano"' in cli("devices", "show", "jetson-orin-nano").stdout
    assert cli("devices", "detect").exit_code == 0
    wrong = cli("devices", "show", "jetson-orin-nan")
    assert wrong.exit_code == 2 and "did you mean `jetson-orin-nano`" in wrong.stderr
