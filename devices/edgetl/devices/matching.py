"""Whether a machine is the device of a profile, and which profile is closest to a machine."""

from edgetl.devices.catalogue import load_profile, names
from edgetl.devices.profile import Profile
from edgetl.machine import Machine


def differences(profile: Profile, machine: Machine) -> list[str]:
    """Why `machine` is not the device of `profile`; empty when it is."""
    wanted = profile.hardware
    found = []
    if wanted.system not in ("", machine.system):
        found.append(f"system is `{machine.system}`, the device has `{wanted.system}`")
    if wanted.arch not in ("", machine.arch):
        found.append(f"architecture is `{machine.arch}`, the device has `{wanted.arch}`")
    if wanted.board and wanted.board not in machine.board:
        found.append(f"board is `{machine.board or 'unknown'}`, the device is `{wanted.board}`")
    if wanted.accelerator == "cuda" and not (machine.gpus or (wanted.board and wanted.board in machine.board)):
        found.append("no NVIDIA GPU is here")
    lacking = [feature for feature in wanted.features if feature not in machine.features]
    if lacking:
        found.append(f"processor lacks `{'`, `'.join(lacking)}`")
    return found


def closest(machine: Machine) -> tuple[Profile, list[str]]:
    """The shipped profile with the fewest differences to `machine`, and these differences."""
    ranked = [(profile, differences(profile, machine)) for profile in map(load_profile, names())]
    return min(ranked, key=lambda pair: (len(pair[1]), not pair[0].hardware.board, pair[0].name))
