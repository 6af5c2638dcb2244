"""What a device is told: every option that names a file here becomes a file that is sent."""

from pathlib import Path

import msgspec

from edgetl.devices.catalogue import SHIPPED, find, load_profile
from edgetl.devices.profile import Profile
from edgetl.devices.toml_text import toml_text
from edgetl.files import write_bytes

Words = list[str | Path]
"""A command line; every Path lies here, is sent, and becomes its place on the device."""


def option(name: str, value: object) -> Words:
    """`--name value`, `--name` for True, nothing for None or False; a Path stays one."""
    if value is None or value is False:
        return []
    if value is True:
        return [f"--{name}"]
    return [f"--{name}", value if isinstance(value, Path) else str(value)]


def profile_word(device: str | None, folder: Path) -> str | Path | None:
    """A shipped profile by its name, any other as a file in `folder` with what it extends. Raises ConfigError."""
    if device is None:
        return None
    profile, path = load_profile(device), find(device)
    if path.resolve().parent == SHIPPED.resolve():
        return path.stem
    whole = folder / "profile.toml"
    write_bytes(whole, toml_text(_stated(profile)).encode())
    return whole


def _stated(profile: Profile) -> dict[str, object]:
    """All that is judged by. Sources, which are for people, stay here; so does what is a default, which an older edgetl
    need not know.
    """
    return {
        field.name: msgspec.to_builtins(getattr(profile, field.name))
        for field in msgspec.structs.fields(profile)
        if field.name not in ("extends", "sources") and getattr(profile, field.name) != field.default
    }
