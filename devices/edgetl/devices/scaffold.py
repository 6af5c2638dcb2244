"""A profile of one's own to start from: extends another, says what this machine is, lists what is to be filled in."""

import os
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from edgetl.devices.catalogue import load_profile, shipped, user_folder
from edgetl.devices.matching import closest, differences, fitting_gpu, lacking_accelerator
from edgetl.devices.profile import EngineChoice, Hardware, Profile
from edgetl.devices.schema import tables
from edgetl.devices.toml_text import toml_value
from edgetl.errors import ConfigError
from edgetl.files import write_bytes
from edgetl.machine import Machine

DETECT = "detect"
"""Instead of a profile to extend: the one closest to this machine."""

RESERVED = {DETECT, "host"}
"""What these names mean is already said: this machine, whatever it is."""


FIGURES = ("cores", "memory_gb", "gpu_memory_gb")
"""The sizes that a machine shows."""


class NewProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The file that was written. `detected`: it describes this machine, else it leaves the hardware to be filled in."""

    path: str
    extends: str
    detected: bool


def new_profile(name: str, source: str, machine: Machine, out: Path | None = None) -> NewProfile:
    """Writes the profile `name` to `out`, or into the user's folder; `source` is `detect`, a profile's name or path.

    Raises ConfigError: a bad or a shipped name, a file that is already there, no folder for it, an unknown profile.
    """
    path = _place(name, out)
    base = closest(machine)[0] if source == DETECT else load_profile(source)
    detected = source == DETECT or not differences(base, machine)
    extends = str(Path(source).resolve()) if source.endswith(".toml") else base.name
    content = render(name, extends, base, machine if detected else None)
    msgspec.toml.decode(content, type=Profile)
    try:
        if out is None:
            path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content.encode())
    except OSError as error:
        raise ConfigError(f"`{path}` cannot be written: {error.strerror}", hint="choose a place with `-o`") from error
    return NewProfile(path=str(path), extends=extends, detected=detected)


def _place(name: str, out: Path | None) -> Path:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,99}", name):
        raise ConfigError(
            f"`{name}` is no name for a profile", hint="small letters, digits and `-`, as `line-3-camera`"
        )
    if name in shipped() or name in RESERVED:
        raise ConfigError(f"`{name}` is taken by edgetl itself", hint="give the profile a name of its own")
    path = out or user_folder() / f"{name}.toml"
    if path.suffix != ".toml":
        raise ConfigError(f"`{path}` does not end in `.toml`", hint=f"`-o {name}.toml`")
    if os.path.lexists(path):
        raise ConfigError(f"`{path}` is already there", hint="edit it, delete it, or choose another name")
    return path


def render(name: str, extends: str, base: Profile, machine: Machine | None) -> str:
    """The TOML. Without `machine` the hardware stays as in `base`."""
    now = datetime.now(timezone.utc)
    seen = f"detected on {now:%Y-%m-%d} with edgetl {version('edgetl')}"
    hardware = identity(base.hardware, machine) if machine else {}
    figures = [key for key in FIGURES if key in hardware]
    title = (machine.board or machine.cpu if machine else base.title) or name
    parts = [
        f"# Written by `edgetl devices new`. Where nothing stands here, `{base.name}` holds (`edgetl devices show`).",
        "# docs/devices.md explains every key; `edgetl devices schema > profile.json` and a first line",
        "# `#:schema ./profile.json` let an editor do so.",
        f"name = {toml_value(name)}",
        f"title = {toml_value(title)}",
        f"extends = {toml_value(extends)}",
        f"source = {toml_value(seen if machine else '')}",
        "# Only when the whole chain was run on the device:",
        "# verified = true",
        "",
        *_hardware(hardware, base),
        "",
        *_engines(base.engines, base.name),
        "",
        "# What ships at most (for `per_second` at least). What stays away is not judged.",
        *_budgets("latency", base.latency),
        "",
        *_budgets("accuracy", base.accuracy),
        "",
        "# Where each figure comes from.",
        "[sources]",
        *(f'"hardware.{key}" = {toml_value(seen)}' for key in figures),
    ]
    return "\n".join(parts) + "\n"


def identity(base: Hardware, machine: Machine) -> dict[str, Any]:
    """The keys of `[hardware]` that make `machine` the device where `base` says otherwise, and its usable sizes."""
    gpu, npu = _accelerators(base, machine)
    gpu_memory = max((each.memory_bytes or 0 for each in machine.nvidia if each.name == gpu), default=0)
    own = {
        "system": machine.system,
        "arch": machine.arch,
        "accelerator": "cpu" if lacking_accelerator(base, machine) else base.accelerator,
        "board": machine.board,
        "cpu": machine.cpu,
        "gpu": gpu,
        "npu": npu,
        "features": machine.features,
        "cores": machine.cores,
        "memory_gb": _gb(machine.memory_bytes),
        "gpu_memory_gb": _gb(gpu_memory),
    }
    return {key: value for key, value in own.items() if _is_told(key, value, getattr(base, key))}


def _gb(size: int) -> float:
    """Rounded down, so that the machine itself has as much."""
    return size // 10**8 / 10


def _is_told(key: str, value: Any, inherited: Any) -> bool:
    """Figures that are known; and names, where the inherited one does not say the same."""
    return bool(value) if key in FIGURES else value != inherited


def _accelerators(base: Hardware, machine: Machine) -> tuple[str, str]:
    """The names of the GPU and of the NPU that `base` computes on here; empty for others and where there is none."""
    if base.accelerator == "cuda":
        return fitting_gpu(base.gpu, machine.gpus), ""
    if base.accelerator == "intel-gpu":
        return fitting_gpu(base.gpu, [device.name for device in machine.intel_gpus]), ""
    if base.accelerator == "intel-npu":
        return "", next((device.name for device in machine.intel_npus), "")
    return "", ""


def _hardware(values: Mapping[str, Any], base: Profile) -> list[str]:
    lines = [
        "# What a machine must be: of a name, a part is enough; what stays away may be anything. GB are 10⁹ bytes."
    ]
    if not values:
        rows = {key: text for key, _, _, text in tables()["hardware"]}
        asked = [
            f"# {key} = {toml_value(getattr(base.hardware, key))}  # {rows[key]}" for key in ("board", "cpu", "gpu")
        ]
        return [
            *lines,
            f"# The machine that wrote this is no {base.title}, so fill in what yours is.",
            "# [hardware]",
            *asked,
        ]
    return [*lines, "[hardware]", *(f"{key} = {toml_value(value)}" for key, value in values.items())]


def _engines(engines: tuple[EngineChoice, ...], base: str) -> list[str]:
    lines = [f"# The engines of `{base}`, best first. A list of one's own replaces them all."]
    for engine in engines:
        lines += ["# [[engines]]", f"# name = {toml_value(engine.name)}"]
        lines += [f"# options = {toml_value(engine.options)}"] if engine.options else []
        lines += [f"# precisions = {toml_value(engine.precisions)}"] if engine.precisions else []
    return lines


def _budgets(table: str, values: msgspec.Struct) -> list[str]:
    """The keys with what `values` holds, or with nothing, commented out."""
    lines = [f"# [{table}]"]
    for key, _, _, text in tables()[table]:
        value = getattr(values, key)
        lines.append(f"# {key} = {'' if value is None else toml_value(value)}  # {text}")
    return lines
