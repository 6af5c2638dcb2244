"""Where profiles are found: the shipped ones, the user's own folder, a path; and what `extends` adds."""

import os
from pathlib import Path
from typing import Any

import msgspec

from edgetl.devices.profile import EngineChoice, Profile
from edgetl.errors import ConfigError, suggest
from edgetl.files import read_toml
from edgetl.plugins import ENGINES

SHIPPED = Path(__file__).parent / "profiles"

FOLDER = "EDGETL_DEVICES"
"""The variable that names the user's folder of profiles."""

MAX_DEPTH = 8
"""So many profiles may extend one another."""


def user_folder() -> Path:
    """`$EDGETL_DEVICES`, else `$XDG_CONFIG_HOME/edgetl/devices`, else `~/.config/edgetl/devices`."""
    if named := os.environ.get(FOLDER):
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "edgetl" / "devices"


def shipped() -> list[str]:
    """The profiles that come with edgetl, in alphabetical order."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def names() -> list[str]:
    """Every profile that a name finds, in alphabetical order: the shipped ones and the user's."""
    return sorted({*shipped(), *(path.stem for path in user_folder().glob("*.toml"))})


def find(name: str, beside: Path | None = None) -> Path:
    """The file of a profile by name, or by path (`*.toml`, from `beside` if given). Raises ConfigError."""
    if name.endswith(".toml"):
        return (beside or Path()) / name
    places = [folder / f"{name}.toml" for folder in (SHIPPED, user_folder())]
    found = [path for path in places if (path.parent == SHIPPED and name in shipped()) or path.is_file()]
    if len(found) > 1:
        raise ConfigError(f"`{found[1]}` has the name of a shipped profile", hint="give it a name of its own")
    if not found or "/" in name:
        raise ConfigError(f"unknown device `{name}`", hint=suggest(name, names()))
    return found[0]


def load_profile(name: str) -> Profile:
    """A profile by name or path, with what it extends. Raises ConfigError."""
    path = find(name)
    try:
        profile = msgspec.convert(_with_parents(path, ()), Profile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"`{path}` with what it extends: {error}", hint="see docs/devices.md") from error
    if not profile.engines:
        raise ConfigError(f"`{path}` names no engine", hint="add `[[engines]]`, or extend a profile that has some")
    return profile


def _with_parents(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The values of `path` over those of what it extends. `verified` is never inherited."""
    if path.resolve() in seen or len(seen) >= MAX_DEPTH:
        chain = " → ".join(each.stem for each in (*seen, path))
        raise ConfigError(f"`{path}` extends itself: {chain}", hint=f"at most {MAX_DEPTH} profiles, none of them twice")
    own = read_toml(path, Profile)  # strict, so that a wrong key is named with its own file
    values: dict[str, Any] = read_toml(path, dict)
    if own.extends is None:
        return values
    parent = _with_parents(find(own.extends, path.parent), (*seen, path.resolve()))
    return {"verified": False, **_merged(parent, {"verified": False, **values})}


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key; every other value of `above` replaces the one below, lists too."""
    both = {
        key: _merged(below[key], value) if isinstance(value, dict) and isinstance(below.get(key), dict) else value
        for key, value in above.items()
    }
    return {**below, **both}


def host_profile() -> Profile:
    """This machine, whatever it is: every known engine with its defaults, the shipped tolerances."""
    return Profile(name="host", title="this machine", engines=tuple(EngineChoice(name=name) for name in ENGINES))
