"""Command-line options that several commands share, and how their values are read."""

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from edgetl.errors import ConfigError

GATE_FAILED, UNDECIDED = 7, 8
"""Exit codes of a verdict; errors.py has the others."""

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing run or bundle.")]
BundleArgument = Annotated[Path, typer.Argument(help="A bundle folder written by `edgetl export`.")]
Device = Annotated[str | None, typer.Option(help="A device profile by name or path; default: this machine.")]
Variants = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Comma-separated variants; default: the device's plan, else all."),
]
RequireSignature = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--require-signature",
        metavar="FILE",
        help="Open only what one of these allowed signers (OpenSSH) signed.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 8 when the verdict is undecided.")]
LabelledData = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--data", help="More labelled samples: FOLDER/LABEL/images, or a CSV with path,label[,group]."),
]
Sequential = Annotated[
    bool, typer.Option("--sequential", help="Take the samples of --data one by one, and stop when decided.")
]
UnlabelledData = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--unlabelled", help="Images without labels; how many answers change bounds the drop."),
]
On = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--on", metavar="ADDRESS", help="Run on that computer instead: ssh://USER@HOST[:PORT]."),
]
FleetFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--fleet", help="Run on every computer that this TOML file lists, with one verdict for all."),
]
RemoteEdgetl = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--remote-edgetl", help="With --on or --fleet: the edgetl command there. Default: edgetl."),
]
SshConfig = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--ssh-config", help="With --on or --fleet: a configuration file for ssh. Default: the user's."),
]
AtOnce = Annotated[int, typer.Option("--at-once", min=1, max=256, help="With --fleet: so many computers at a time.")]


def names(value: str | None) -> list[str] | None:
    """A comma-separated option as a list; None stays None."""
    if value is None:
        return None
    found = [name.strip() for name in value.split(",") if name.strip()]
    if not found:
        raise ConfigError("`--variants` is empty", hint="name variants, separated by commas")
    return found


def profile(device: str | None) -> Any:
    """The profile of `--device`; this machine when there is none."""
    from edgetl.devices.catalogue import host_profile, load_profile

    return host_profile() if device is None else load_profile(device)
