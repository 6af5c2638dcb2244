"""Which machine a command runs on, and what an address may look like."""

import re
from pathlib import Path

import msgspec

from edgetl.errors import ConfigError

_ADDRESS = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]{0,63})@)?"
    r"(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9._-]{0,252})|\[(?P<six>[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]{1,32})?)\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)
_COMMAND = re.compile(r"(?!-)[^\x00-\x1f\x7f]{1,1000}")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that OpenSSH reaches. `edgetl`: the command there, `~/` is its user's home; `config`: an OpenSSH
    configuration file instead of the user's own. Without `interactive` nothing is ever asked for.
    """

    address: str
    edgetl: str = "edgetl"
    config: str | None = None
    interactive: bool = True

    @property
    def host(self) -> str:
        """The host as OpenSSH is given it: a name, an address or an alias of its configuration."""
        found = _found(self.address)
        return str(found["host"] or found["six"])

    @property
    def user(self) -> str | None:
        return _found(self.address)["user"]

    @property
    def port(self) -> str | None:
        return _found(self.address)["port"]


def parse_target(
    address: str, *, edgetl: str = "edgetl", config: str | None = None, interactive: bool = True
) -> Target:
    """The target at `ssh://[USER@]HOST[:PORT]`.

    Raises ConfigError for an address that could mean anything else to OpenSSH or a shell, and for a `config` that is
    no file.
    """
    _found(address)
    if not _COMMAND.fullmatch(edgetl):
        raise ConfigError(f"the remote command cannot be `{edgetl}`", hint="a command or its path, without options")
    if config is not None and not Path(config).is_file():
        raise ConfigError(f"the OpenSSH configuration `{config}` is no file", hint="check the path")
    return Target(address=address, edgetl=edgetl, config=config, interactive=interactive)


def _found(address: str) -> re.Match[str]:
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"] or 22) < 2**16:
        raise ConfigError(f"`{address}` is no address", hint="write ssh://USER@HOST or ssh://USER@HOST:PORT")
    return found
