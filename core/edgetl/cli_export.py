"""`edgetl export`: from a run to a bundle of variants that hold their accuracy."""

from pathlib import Path
from typing import Annotated, Literal, Optional

import msgspec
import typer

from edgetl import console, show
from edgetl.cli_tune import tune_bundle
from edgetl.console import Json, reports_errors, say, track
from edgetl.errors import ConfigError
from edgetl.files import configured
from edgetl.options import GATE_FAILED, Overwrite, names
from edgetl.plugins import heavy_imports, require

LIBRARIES = ("torch", "torchvision", "onnx", "onnxscript", "safetensors", "matplotlib", "jinja2")


@reports_errors
def export(
    run: Annotated[Path, typer.Argument(help="A run folder written by `edgetl finetune`.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The bundle folder to write.")],
    variants: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated ENGINE-PRECISION; default: what --device runs, else fp32 and int8 of what is here."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="A device profile: its variants are made, its bounds held.")
    ] = None,
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
    nms: Annotated[
        Literal["device", "graph"],
        typer.Option(help="Of a detector: whether the device or the graph drops boxes that repeat an object."),
    ] = "device",
    also: Annotated[
        Optional[Literal["triton", "kserve"]],  # noqa: UP045
        typer.Option(
            help="triton: a Triton model repository beside the bundle, OUT-triton. kserve: manifests, OUT-kserve."
        ),
    ] = None,
    service_name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="With --also kserve: the service's name; default: the bundle's."),
    ] = None,
    storage_uri: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="With --also kserve: where Triton's model repository will lie, as s3://BUCKET/FOLDER."),
    ] = None,
    image: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="With --also kserve: a container image that holds the bundle and `edgetl serve`."),
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
        from edgetl.export.kserve import check_request
        from edgetl.export.stage import export

    named = names(variants)
    name = service_name or out.resolve().name
    if also == "kserve":
        check_request(name, storage_uri, image)
    elif service_name or storage_uri or image:
        raise ConfigError(
            "`--service-name`, `--storage-uri` and `--image` describe a service", hint="add `--also kserve`"
        )
    config = configured(
        {
            "variants": named, "device": device, "max_drop": max_drop, "escalate": escalate, "golden": golden,
            "calibration_samples": calibration_samples, "per_tensor": per_tensor, "opset": opset,
            "embedding": embedding, "nms": nms, "seed": seed, "data": str(data) if data else None,
        }, ExportConfig,
    )  # fmt: skip
    result, _ = export(run, out, config, overwrite=overwrite, track=track)
    if also == "triton":
        written = _write_triton(out, overwrite=overwrite)
    elif also == "kserve":
        written = _write_kserve(out, name, storage_uri, image, overwrite=overwrite)
    if as_json and not tune:
        console.print_json(result)
    elif not as_json:
        console.stdout().print(show.export_table(msgspec.to_builtins(result)))
        typer.echo(f"{result.bundle} written in {result.seconds:.1f} s; report: {out / 'report.html'}")
    if also:
        say(f"for {also}: {written}")
    if tune:
        tune_bundle(out, device, max_drop=max_drop, as_json=as_json, also=result)
    failed = [variant.id for variant in result.variants if not variant.held]
    if failed and named:
        say(f"not within the bound: {', '.join(failed)}")
        raise typer.Exit(GATE_FAILED)


def _write_triton(out: Path, *, overwrite: bool) -> Path:
    """The repository of the bundle's first variant that Triton runs as declared."""
    from edgetl.bundle import open_bundle
    from edgetl.export.triton import first_servable, write_repository

    bundle = open_bundle(out)
    beside = out.with_name(f"{out.name}-triton")
    return write_repository(bundle, first_servable(bundle), beside, name=out.name, overwrite=overwrite)


def _write_kserve(out: Path, name: str, storage_uri: str | None, image: str | None, *, overwrite: bool) -> Path:
    from edgetl.bundle import open_bundle
    from edgetl.export.kserve import write_manifests

    beside = out.with_name(f"{out.name}-kserve")
    return write_manifests(
        open_bundle(out), beside, name=name, storage_uri=storage_uri, image=image, overwrite=overwrite
    )
