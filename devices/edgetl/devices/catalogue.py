"""Where profiles are found: the shipped ones, the user's own folder, a path; and what `extends` adds."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from edgetl.devices.citations import check_figures, inherited_sources
from edgetl.devices.profile import NAME, EngineChoice, Numerics, Profile
from edgetl.errors import ConfigError, suggest
from edgetl.files import read_toml, unknown_key_hint
from edgetl.plugins import ENGINES, TARGETS, known
from edgetl.runtime.engines import typed_options
from edgetl.runtime.engines.options import OPTIONS

SHIPPED = Path(__file__).parent / "profiles"

FOLDER = "EDGETL_DEVICES"
"""The variable that names the user's folder of profiles."""

HOST = "host"
"""What a machine is called that is judged without a profile."""

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
    own = (path for path in user_folder().glob("*.toml") if not path.name.startswith("."))  # editors' own are hidden
    return sorted({*shipped(), *(path.stem for path in own)})


def find(name: str, beside: Path | None = None) -> Path:
    """The file of a profile by name, or by path (`*.toml`, from `beside` if given). Raises ConfigError."""
    if name.endswith(".toml") and "\0" not in name:
        return (beside or Path()) / name
    ours, own = SHIPPED / f"{name}.toml", user_folder() / f"{name}.toml"
    is_own = os.path.lexists(own)  # what cannot be read is refused with its path, not taken for unknown
    if not re.fullmatch(NAME, name):
        if is_own and own.name == f"{name}.toml":
            raise ConfigError(f"`{own}` has no name for a device", hint="letters, digits, `.`, `_` and `-`, no spaces")
        raise ConfigError(f"`{name}` is no name of a device", hint="a path to a profile ends in `.toml`")
    if ours.is_file() and is_own:
        raise ConfigError(f"`{own}` has the name of a shipped profile", hint="give it a name of its own")
    if not ours.is_file() and not is_own:
        raise ConfigError(f"unknown device `{name}`", hint=suggest(name, names()))
    return ours if ours.is_file() else own


def load_profile(name: str) -> Profile:
    """A profile by name or path, with what it extends, its engines' options and sources checked. Raises ConfigError."""
    path = find(name)
    values = _with_parents(path, ())
    try:
        profile = msgspec.convert(_merged({"numerics": _shipped_tolerances()}, values), Profile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"`{path}` with what it extends: {error}", hint="see docs/devices.md") from error
    if not name.endswith(".toml") and profile.name != path.stem:
        raise ConfigError(f"`{path}` calls itself `{profile.name}`", hint=f'write `name = "{path.stem}"`')
    if profile.name == HOST:
        raise ConfigError(f"`{path}`: `{HOST}` means this machine, whatever it is", hint="give it a name of its own")
    if not profile.engines:
        raise ConfigError(f"`{path}` names no engine", hint="add `[[engines]]`, or extend a profile that has some")
    check_figures(path, values)
    return profile


def _shipped_tolerances() -> dict[str, Any]:
    """So that a profile that states one bound of a precision keeps the others."""
    tolerances = msgspec.to_builtins(Numerics())
    return {name: {key: bound for key, bound in each.items() if bound is not None} for name, each in tolerances.items()}


def _with_parents(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The values of `path` over those of what it extends. `verified` is never inherited."""
    place = Path(os.path.realpath(path))  # takes a circle of links, which reading then refuses
    if place in seen or len(seen) >= MAX_DEPTH:
        chain = " → ".join(each.stem for each in (*seen, path))
        what = "extends itself" if place in seen else "is one too many"
        raise ConfigError(f"`{path}` {what}: {chain}", hint=f"at most {MAX_DEPTH} profiles, none of them twice")
    values = _read(path)
    if "extends" not in values:
        return values
    parent = _with_parents(find(values["extends"], path.parent), (*seen, place))
    parent["sources"] = inherited_sources(parent, values)
    return _merged(parent, {"verified": False, **values})


def _read(path: Path) -> dict[str, Any]:
    """The values of one file, held to be a profile of its own, so that a mistake is named with its own file.

    Its engines must be known to edgetl, and their options to the engines. Raises ConfigError.
    """
    values: dict[str, Any] = read_toml(path, dict)
    try:
        own = msgspec.convert(values, Profile)
        for choice in own.engines:
            _check_engine(choice)
        if len({choice.name for choice in own.engines}) < len(own.engines):
            raise ConfigError("an engine is named twice", hint="one `[[engines]]` holds all of its options")
    except msgspec.ValidationError as error:
        quoted = 'write the key in quotes: "hardware.cores" = "…"' if "`$.sources" in str(error) else None
        hint = quoted or unknown_key_hint(str(error), Profile) or "docs/devices.md has every key and its type"
        raise ConfigError(f"`{path}`: {error}", hint=hint) from error
    except ConfigError as error:
        raise ConfigError(f"`{path}`: {error.message}", hint=error.hint) from error
    return values


def _check_engine(choice: EngineChoice) -> None:
    known(ENGINES, choice.name, "engine")
    if choice.name in OPTIONS:  # another is asked when it opens
        typed_options(choice.name, choice.options, OPTIONS[choice.name])
    made = TARGETS[choice.name].precisions if choice.name in TARGETS else choice.precisions
    for precision in choice.precisions:
        if precision not in made:
            raise ConfigError(f"`{choice.name}` has no `{precision}`", hint=suggest(precision, made))


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key; every other value of `above` replaces the one below, lists too."""
    both = {
        key: _merged(below[key], value) if isinstance(value, dict) and isinstance(below.get(key), dict) else value
        for key, value in above.items()
    }
    return {**below, **both}


def host_profile() -> Profile:
    """This machine, whatever it is: every known engine with its defaults, the shipped tolerances."""
    return Profile(name=HOST, title="this machine", engines=tuple(EngineChoice(name=name) for name in ENGINES))
