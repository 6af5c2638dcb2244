"""`edgetl export`: from a run to a bundle of variants that hold their accuracy."""

from pathlib import Path
from typing import Annotated, Literal, Optional

import msgspec
import typer

from edgetl import console, show
from edgetl.cli_tune import tune_bundle
from edgetl.console import Json, reports_errors, say, track
from edgetl.files import configured
from edgetl.options import GATE_FAILED, Overwrite, names
from edgetl.plugins import heavy_imports, require

LIBRARIES = ("torch", "torchvision", "onnx", "onnxscript", "safetensors", "matplotlib", "jinja2")


@reports_errors
def export(
    run: Annotated[Path, typer.Argument(help="A run folder written by `edgetl finetune`.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The bundle folder to write.")],
    variants: Annotated[
        str | None, typer.Option(help="Comma-separated ENGINE-PRECISION; default: fp32 and int8 of what is installed.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="A device profile whose bounds the variants are to hold.")] = None,
    max_drop: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Points an int8 variant may lose before more is tried; default: the device's bound."),
    ] = None,
    escalate: Annotated[
        bool, typer.Option(help="Make an int8 variant again, with more effort, when it loses too much.")
    ] = True,
    golden: Annotated[str, typer.Option(help="Which images travel: validation, synthetic or none.")] = "validation",
    calibration_samples: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Training images for quantisation; default: as many as measuring shows enough."),
    ] = None,
    per_tensor: Annotated[bool, typer.Option("--per-tensor", help="One weight scale a tensor, not a channel.")] = False,
    opset: Annotated[int, typer.Option(help="The ONNX operator set.")] = 20,
    embedding: Annotated[bool, typer.Option("--embedding", help="Put the features before the head out too.")] = False,
    also: Annotated[
        Optional[Literal["triton"]],  # noqa: UP045
        typer.Option(help="triton: a Triton model repository beside the bundle, OUT-triton."),
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Then measure here what is fastest, as `edgetl tune` does.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Draws the calibration and golden images.")] = 0,
    data: Annotated[Optional[Path], typer.Option(help="The data folder, if it moved since the run.")] = None,  # noqa: UP045
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Turn a run into a bundle: convert, quantise until the accuracy holds, and judge every variant here."""
    require("export", *LIBRARIES)
    with heavy_imports():
        from edgetl.export.config import ExportConfig
        from edgetl.export.stage import export

    named = names(variants)
    config = configured(
        {
            "variants": named, "device": device, "max_drop": max_drop, "escalate": escalate, "golden": golden,
            "calibration_samples": calibration_samples, "per_tensor": per_tensor, "opset": opset,
            "embedding": embedding, "seed": seed, "data": str(data) if data else None,
        }, ExportConfig,
    )  # fmt: skip
    result, _ = export(run, out, config, overwrite=overwrite, track=track)
    repository = _write_triton(out, overwrite=overwrite) if also else None
    if as_json and not tune:
        console.print_json(result)
    elif not as_json:
        console.stdout().print(show.export_table(msgspec.to_builtins(result)))
        typer.echo(f"{result.bundle} written in {result.seconds:.1f} s; report: {out / 'report.html'}")
    if repository:
        say(f"Triton model repository: {repository}")
    if tune:
        tune_bundle(out, device, max_drop=max_drop, as_json=as_json, also=result)
    failed = [variant.id for variant in result.variants if not variant.held]
    if failed and named:
        say(f"not within the bound: {', '.join(failed)}")
        raise typer.Exit(GATE_FAILED)


def _write_triton(out: Path, *, overwrite: bool) -> Path:
    """The repository of the bundle's first variant that did not fail."""
    from edgetl.bundle import open_bundle
    from edgetl.export.triton import write_repository

    bundle = open_bundle(out)
    chosen = next((v for v in bundle.manifest.variants if v.status != "failed"), bundle.manifest.variants[0])
    return write_repository(bundle, chosen.id, out.with_name(f"{out.name}-triton"), name=out.name, overwrite=overwrite)
