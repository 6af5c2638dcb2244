"""`edgetl devices …`: the profiles, what this machine is, and a profile of one's own."""

from pathlib import Path
from typing import Annotated, Optional

import msgspec
import typer

from edgetl import console, show_devices
from edgetl.console import Json, reports_errors, say

devices_app = typer.Typer(help="Device profiles: what a device is, and what is expected on it.", no_args_is_help=True)


@devices_app.command("list")
@reports_errors
def list_devices(as_json: Json = False) -> None:
    """The shipped profiles and the user's own."""
    from edgetl.devices.catalogue import find, load_profile, names, shipped

    profiles = [
        {**msgspec.to_builtins(load_profile(name)), "from": "edgetl" if name in shipped() else str(find(name))}
        for name in names()
    ]
    if as_json:
        console.print_json(profiles)
    else:
        console.stdout().print(show_devices.profiles_table(profiles))


@devices_app.command("show")
@reports_errors
def show_device(name: str, as_json: Json = False) -> None:
    """One profile: its TOML as written, or as JSON with all that it extends."""
    from edgetl.devices.catalogue import find, load_profile

    profile = load_profile(name)
    if as_json:
        console.print_json(profile)
    else:
        typer.echo(find(name).read_text(encoding="utf-8"), nl=False)


@devices_app.command("detect")
@reports_errors
def detect_device(as_json: Json = False) -> None:
    """What this machine is, the closest profile, what differs from it, and the installed engines."""
    from edgetl.devices.matching import closest, remarks
    from edgetl.engine_versions import engine_versions
    from edgetl.machine import detect

    machine = detect(details=True)
    profile, different = closest(machine)
    result = {
        "closest": profile.name,
        "differences": different,
        "machine": machine,
        "remarks": remarks(profile, machine),
        "engines": engine_versions(),
    }
    if as_json:
        console.print_json(result)
    else:
        console.stdout().print(show_devices.detected_view(msgspec.to_builtins(result)))


@devices_app.command("new")
@reports_errors
def new_device(
    name: Annotated[str, typer.Argument(help="What `--device` will call it: small letters, digits and `-`.")],
    source: Annotated[
        str,
        typer.Option("--from", help="`detect`: the profile closest to this machine; or a profile by name or path."),
    ] = "detect",
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--out", help="A new file; default: NAME.toml in the user's folder, which `list` reads."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a profile of one's own that extends another and says what this machine is."""
    from edgetl.devices.scaffold import new_profile
    from edgetl.machine import detect

    made = new_profile(name, source, detect(details=True), out)
    say(f"extends `{made.extends}`; fill in what is commented out")
    if as_json:
        console.print_json(made)
    else:
        typer.echo(made.path)


@devices_app.command("schema")
@reports_errors
def profile_schema() -> None:
    """The JSON Schema of profiles, for editors."""
    from edgetl.devices import schema

    console.print_json(schema.profile_schema())
