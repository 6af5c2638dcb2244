import pytest

from edgetl.devices.remote.connection import remote_command
from edgetl.devices.remote.target import parse_target
from edgetl.errors import ConfigError


@pytest.mark.parametrize(
    ("address", "user", "host", "port"),
    [
        ("ssh://pi@10.0.0.7", "pi", "10.0.0.7", None),
        ("ssh://kitchen", None, "kitchen", None),
        ("ssh://pi@kitchen.local:2222/", "pi", "kitchen.local", "2222"),
        ("ssh://pi@[fe80::1%eth0]:22", "pi", "fe80::1%eth0", "22"),
    ],
)
def test_an_address_names_user_host_and_port(address: str, user: str | None, host: str, port: str | None) -> None:
    target = parse_target(address)
    assert (target.user, target.host, target.port) == (user, host, port)


@pytest.mark.parametrize(
    "address",
    [
        "pi@10.0.0.7", "http://pi@host", "ssh://", "ssh://-oProxyCommand=id", "ssh://-l@host", "ssh://a@-host",
        "ssh://host;id", "ssh://host/path", "ssh://host:0", "ssh://host:70000", "ssh://host:", "ssh://ho st",
        "ssh://host\n", "ssh://pi:secret@host", "ssh://$(id)@host", "ssh://host%h", "ssh://[::1", "ssh://[%x]",
    ],
)  # fmt: skip
def test_an_address_that_could_mean_something_else_is_refused(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_target(address)
    assert "ssh://USER@HOST" in (caught.value.hint or "")


def test_a_command_is_one_word_for_the_other_shell() -> None:
    assert remote_command("/opt/my tools/edgetl") == "'/opt/my tools/edgetl' remote-end"
    assert remote_command("~/venv/bin/edgetl") == '"$HOME"/venv/bin/edgetl remote-end'
    assert remote_command("$(id)") == "'$(id)' remote-end"
    for command in ("-x", "", "a\nb"):
        with pytest.raises(ConfigError):
            parse_target("ssh://host", edgetl=command)


def test_a_configuration_that_is_no_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="no file"):
        parse_target("ssh://host", config="/nowhere/ssh.conf")
