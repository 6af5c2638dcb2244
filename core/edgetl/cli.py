"""The command line: parses, calls one stage, prints, exits. Stages are imported inside their command."""

import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from edgetl import console, show
from edgetl.cli_adopt import adopt
from edgetl.cli_advise import advise
from edgetl.cli_bench import bench
from edgetl.cli_devices import devices_app
from edgetl.cli_export import export
from edgetl.cli_finetune import finetune
from edgetl.cli_judge import check, gate, selftest
from edgetl.cli_predict import predict
from edgetl.cli_remote_end import remote_end
from edgetl.cli_serve import serve
from edgetl.cli_sign import sign, verify
from edgetl.cli_sweep import sweep
from edgetl.cli_tune import tune
from edgetl.console import Commands, Json, prepare_streams, reports_errors, say, track
from edgetl.options import BundleArgument, Overwrite
from edgetl.plugins import heavy_imports, require

app = typer.Typer(
    cls=Commands,
    help="From a pretrained model to a trusted model on a device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(devices_app, name="devices")


def main() -> None:
    """The entry point of the `edgetl` command. SIGTERM cleans up like Ctrl-C."""
    prepare_streams()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        app()
    except SystemExit as end:
        if end.code != console.INTERRUPTED:
            raise
        # Python would end itself by SIGINT instead when the interrupt passed through an exec() during an import
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(console.INTERRUPTED)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"edgetl {version('edgetl')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


for command in (
    finetune,
    advise,
    sweep,
    export,
    adopt,
    check,
    gate,
    selftest,
    bench,
    tune,
    predict,
    serve,
    sign,
    verify,
):
    app.command()(command)
app.command("remote-end", hidden=True)(remote_end)


@app.command()
@reports_errors
def inspect(
    bundle: BundleArgument,
    sbom: Annotated[
        bool, typer.Option("--sbom", help="Print its bill of materials instead: CycloneDX 1.6, JSON.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what a bundle is: its manifest, and what machines measured of it."""
    from edgetl.bundle import open_bundle
    from edgetl.devices import measurements

    opened = open_bundle(bundle)
    if sbom:
        from edgetl.sbom import cyclonedx

        console.print_json(cyclonedx(opened))
        return
    measured = measurements.readable(opened, say)
    if as_json:
        console.print_json({**msgspec.to_builtins(opened.manifest), "measurements": measured.records})
    else:
        console.stdout().print(show.manifest_view(msgspec.to_builtins(opened.manifest), msgspec.to_builtins(measured)))


@app.command()
@reports_errors
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="A new folder for data, runs and bundle.")] = Path(
        "edgetl-demo"
    ),
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Run the whole chain on scikit-learn's handwritten digits, with no network and no other data."""
    require(
        "export",
        "torch",
        "torchvision",
        "sklearn",
        "onnx",
        "onnxscript",
        "safetensors",
        "matplotlib",
        "jinja2",
    )
    with heavy_imports():
        from edgetl.export.demo import run_demo

    result = run_demo(out, overwrite=overwrite, track=track, say=say)
    if as_json:
        console.print_json(result)
        return
    console.stdout().print(show.demo_view(msgspec.to_builtins(result)))
