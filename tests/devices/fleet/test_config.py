"""`devices.toml`: strict, whole before anything is asked, and short where the command line says the rest."""

from pathlib import Path

import pytest

from edgetl.devices.fleet.config import read_fleet
from edgetl.errors import ConfigError

ONE = '[[devices]]\nname = "a"\naddress = "ssh://pi@one"\n'


def fleet(folder: Path, text: str) -> Path:
    path = folder / "devices.toml"
    path.write_text(text)
    return path


def test_every_key_and_paths_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "ssh.conf").write_text("")
    (tmp_path / "mine.toml").write_text('name = "mine"\ntitle = "Mine"\nextends = "raspberry-pi-5"\n')
    text = f"""{ONE}device = "mine.toml"\nedgetl = "/opt/edgetl/bin/edgetl"\nssh_config = "ssh.conf"
variants = ["openvino-int8"]\ntimeout_s = 60\n"""
    (found,) = read_fleet(fleet(tmp_path, text), {})
    assert found.device == str(tmp_path / "mine.toml") and found.variants == ("openvino-int8",)
    assert found.target.config == str(tmp_path / "ssh.conf") and found.target.edgetl == "/opt/edgetl/bin/edgetl"
    assert found.timeout_s == 60 and not found.target.interactive


def test_the_command_line_says_what_a_device_does_not(tmp_path: Path) -> None:
    text = ONE + 'device = "x86-64-cpu"\n[[devices]]\nname = "b"\naddress = "ssh://two"\n'
    first, second = read_fleet(fleet(tmp_path, text), {"device": "raspberry-pi-5", "edgetl": "~/bin/edgetl"})
    assert first.device == "x86-64-cpu" and second.device == "raspberry-pi-5"
    assert first.target.edgetl == second.target.edgetl == "~/bin/edgetl"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (ONE + 'adress = "x"\n', "did you mean `address`"),
        (ONE + ONE, "two devices named `a`"),
        (ONE.replace("ssh://pi@one", "ssh://-oProxyCommand=x"), "device `a`: `ssh://-oProxyCommand=x` is no address"),
        (ONE + 'device = "rasperry-pi-5"\n', "device `a`: unknown device"),
        (ONE + 'device = "none.toml"\n', "device `a`:"),
        (ONE + 'ssh_config = "none.conf"\n', "device `a`:"),
        (ONE + 'edgetl = "-x"\n', "device `a`:"),
        (ONE + "timeout_s = 0\n", "timeout_s"),
        (ONE + "variants = []\n", "variants"),
        (ONE.replace('"a"', '"a/../b"'), "name"),
        (ONE.replace('"a"', r'"a\n"'), "name"),
        ("", "devices"),
        ("devices = []\n", "devices"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_fleet(fleet(tmp_path, text), {})
    assert told in str(caught.value) and "devices.toml" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_fleet(tmp_path / "devices.toml", {})
