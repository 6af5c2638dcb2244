"""What a machine is, and the profiles there are, as tables. Takes the plain values of a result."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.markup import escape

from edgetl.console import table
from edgetl.show import pairs

Values = Mapping[str, Any]


def profiles_table(profiles: Sequence[Values]) -> RenderableType:
    """The table of `devices list`."""
    made = table("name", "device", "verified", "engines", "from")
    for profile in profiles:
        engines = ", ".join(engine["name"] for engine in profile["engines"])
        verified = "yes" if profile["verified"] else "not yet"
        cells = (profile["name"], profile["title"], verified, engines, profile["from"])
        made.add_row(*(escape(cell) for cell in cells))
    return made


def detected_view(result: Values) -> RenderableType:
    """The table of `devices detect`."""
    machine = result["machine"]
    rows = [
        ("system", f"{machine['system']} on {machine['arch']}"),
        ("board", machine["board"] or "unknown"),
        ("processor", machine["cpu"] or "unknown"),
        ("features", ", ".join(machine["features"]) or "none known"),
        ("cores", _cores(machine)),
        ("memory", _memory(machine)),
        ("container", machine["container"] or "none"),
        *((what, "; ".join(found)) for what, found in _accelerators(machine).items() if found),
        ("engines", ", ".join(f"{name} {found}" for name, found in result["engines"].items() if found) or "none"),
        ("not installed", ", ".join(name for name, found in result["engines"].items() if not found) or "none"),
        ("closest profile", result["closest"]),
        ("differences", "; ".join(result["differences"]) or "none"),
        ("remarks", "; ".join(result["remarks"]) or "none"),
    ]
    return pairs(rows)


def _cores(machine: Values) -> str:
    cores, host = machine["cores"], machine["host_cores"]
    return f"{cores} of {host} may be used" if cores < host else str(cores)


def _memory(machine: Values) -> str:
    usable, host = machine["memory_bytes"], machine["host_memory_bytes"]
    text = f"{usable / 1e9:.1f} GB"
    return f"{text} of {host / 1e9:.1f} GB may be used" if usable < host else text


def _accelerators(machine: Values) -> dict[str, list[str]]:
    return {
        "Jetson Linux": [machine["l4t"]] if machine["l4t"] else [],
        "NVIDIA GPU": [_nvidia(gpu) for gpu in machine["nvidia"]],
        "Intel GPU": [_intel(device, "/dev/dri") for device in machine["intel_gpus"]],
        "Intel NPU": [_intel(device, "/dev/accel") for device in machine["intel_npus"]],
    }


def _nvidia(gpu: Values) -> str:
    memory = f"{gpu['memory_bytes'] / 1e9:.1f} GB" if gpu["memory_bytes"] else "memory unknown"
    capability = gpu["compute_capability"]
    return f"{gpu['name']}, {memory}" + (f", compute capability {capability}" if capability else "")


def _intel(device: Values, node: str) -> str:
    lack = "" if device["usable"] else f", not usable: its `{node}` is not here"
    return f"{device['name']} ({device['pci_id']}, {device['driver']}){lack}"
