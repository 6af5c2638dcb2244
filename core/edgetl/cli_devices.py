"""`edgetl devices …`: the profiles, and what this machine is."""

import msgspec
import typer

from edgetl import console, show
from edgetl.console import Json, reports_errors

devices_app = typer.Typer(help="Device profiles: what a device is, and what is expected on it.", no_args_is_help=True)


@devices_app.command("list")
@reports_errors
def list_devices(as_json: Json = False) -> None:
    """The shipped profiles."""
    from edgetl.devices.catalogue import load_profile, names

    profiles = [load_profile(name) for name in names()]
    if as_json:
        console.print_json(profiles)
        return
    made = console.table("name", "device", "verified", "engines")
    for profile in profiles:
        engines = ", ".join(choice.name for choice in profile.engines)
        made.add_row(profile.name, profile.title, "yes" if profile.verified else "not yet", engines)
    console.stdout().print(made)


@devices_app.command("show")
@reports_errors
def show_device(name: str, as_json: Json = False) -> None:
    """One profile, as TOML or JSON."""
    from edgetl.devices.catalogue import find, load_profile

    profile = load_profile(name)
    if as_json:
        console.print_json(profile)
    else:
        typer.echo(find(name).read_text(), nl=False)


@devices_app.command("detect")
@reports_errors
def detect_device(as_json: Json = False) -> None:
    """What this machine is, the closest profile, and what differs from it."""
    from edgetl.devices.matching import closest
    from edgetl.machine import detect

    machine = detect()
    profile, different = closest(machine)
    if as_json:
        console.print_json({"closest": profile.name, "differences": different, "machine": machine})
        return
    console.stdout().print(show.machine_view(msgspec.to_builtins(machine), profile.name, different))
