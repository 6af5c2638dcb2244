"""The commands about trust: sign a bundle, verify one."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from edgetl import console
from edgetl.console import Json, reports_errors, say
from edgetl.options import BundleArgument

SHOWN = 20
"""So many names of a longer list are shown; --json has all."""


@reports_errors
def sign(
    bundle: BundleArgument,
    key: Annotated[Path, typer.Option(help="An SSH private key, or the public one of a key the SSH agent holds.")],
    as_json: Json = False,
) -> None:
    """Sign a bundle with an SSH key, after verifying every file of it. Signing again replaces the signature."""
    from edgetl.signature import NAMESPACE
    from edgetl.signature import sign as sign_bundle

    path = sign_bundle(bundle, key)
    if as_json:
        console.print_json({"bundle": str(bundle), "signature": str(path), "namespace": NAMESPACE})
    else:
        typer.echo(f"{path} written")


@reports_errors
def verify(
    bundle: BundleArgument,
    allowed_signers: Annotated[
        Path, typer.Option(help="Who may sign: a file of OpenSSH's ALLOWED SIGNERS format (man ssh-keygen).")
    ],
    identity: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Only this identity of the list. Default: any of them."),
    ] = None,
    revoked: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Keys that do not count any more: a revocation list (KRL) or a file of public keys."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say who signed a bundle and that every file is the one that was signed. Exit 4 if not."""
    from edgetl.bundle import open_bundle
    from edgetl.signature import unlisted

    opened = open_bundle(bundle, allowed_signers=allowed_signers, identity=identity, revoked=revoked)
    opened.verify()
    signer, loose = opened.signer, unlisted(opened)
    if signer is None:
        raise AssertionError("a bundle that was opened with allowed signers has a signer")
    if loose:
        names = ", ".join(f"`{name}`" for name in loose[:SHOWN]) + (", …" if len(loose) > SHOWN else "")
        say(f"warning: not covered by the signature, and opened by nothing in edgetl: {names}")
    files = len(opened.manifest.files)
    if as_json:
        console.print_json({"bundle": str(bundle), "signer": signer, "files": files, "unlisted": loose})
    else:
        typer.echo(f"{bundle}: signed by {signer.identity} ({signer.key}); {files} files are as signed")
