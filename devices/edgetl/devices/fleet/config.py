"""`devices.toml`: which computers a bundle is judged on, and how each is reached."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import structs

from edgetl.devices.catalogue import load_profile
from edgetl.devices.remote.target import Target, parse_target
from edgetl.errors import ConfigError
from edgetl.files import read_toml

MAX_DEVICES = 1000
"""A file that lists more is refused."""


class FleetDevice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[devices]]`. Where it does not say `device`, `edgetl` or `ssh_config`, the command line may.

    `device`: a profile by name or path; `edgetl`: the command there; `ssh_config`: a file for `ssh -F`. Both paths are
    relative to the file that names them. `variants`: unless the command line names some. `timeout_s`: after so long,
    waiting for other runs there included, it is given up.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")]
    address: str
    device: str | None = None
    edgetl: str | None = None
    ssh_config: str | None = None
    variants: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None = None
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 1800.0

    @property
    def target(self) -> Target:
        """How it is reached; nobody is asked for a password. Raises ConfigError."""
        return parse_target(self.address, edgetl=self.edgetl or "edgetl", config=self.ssh_config, interactive=False)


class _Fleet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    devices: Annotated[tuple[FleetDevice, ...], msgspec.Meta(min_length=1, max_length=MAX_DEVICES)]


def read_fleet(path: Path, defaults: Mapping[str, object]) -> tuple[FleetDevice, ...]:
    """The devices of a file, with `defaults` where they say nothing; each can be asked. Raises ConfigError."""
    devices = [_filled(each, path.parent, defaults) for each in read_toml(path, _Fleet).devices]
    if twice := [name for name, count in Counter(each.name for each in devices).items() if count > 1]:
        raise ConfigError(f"`{path}` has two devices named `{twice[0]}`", hint="give each a name of its own")
    for each in devices:
        try:
            _refuse(each)
        except ConfigError as error:
            raise ConfigError(f"`{path}`, device `{each.name}`: {error.message}", hint=error.hint) from error
    return tuple(devices)


def _filled(device: FleetDevice, folder: Path, defaults: Mapping[str, object]) -> FleetDevice:
    found = dict[str, object]()
    if device.device is not None and device.device.endswith(".toml"):
        found["device"] = str(folder / device.device)
    if device.ssh_config is not None:
        found["ssh_config"] = str(folder / device.ssh_config)
    missing = {name: value for name, value in defaults.items() if getattr(device, name) is None}
    return structs.replace(device, **missing, **found)


def _refuse(device: FleetDevice) -> None:
    """Raises ConfigError for what could only fail later."""
    assert device.target
    if device.device is not None:
        load_profile(device.device)
    if device.ssh_config is not None and not Path(device.ssh_config).is_file():
        raise ConfigError(f"`{device.ssh_config}` is no file", hint="`ssh_config` is relative to the file it stands in")
