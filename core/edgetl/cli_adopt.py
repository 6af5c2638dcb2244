"""`edgetl adopt`: from an ONNX file of anybody's to a bundle."""

from pathlib import Path
from typing import Annotated, Literal, Optional

import msgspec
import typer

from edgetl import console, show
from edgetl.console import Json, reports_errors, say, track
from edgetl.files import configured
from edgetl.options import GATE_FAILED, Overwrite, names
from edgetl.plugins import heavy_imports, require

LIBRARIES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "safetensors", "matplotlib", "jinja2")


@reports_errors
def adopt(
    model: Annotated[Path, typer.Argument(help="An ONNX file in float32.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The bundle folder to write.")],
    task: Annotated[Literal["image", "text", "detection"], typer.Option(help="What the model is for.")],
    labels: Annotated[Path, typer.Option(help="A text file: one label a line, in the order of the outputs.")],
    preprocess: Annotated[Path, typer.Option(help="A TOML file: how the model wants its inputs.")],
    golden: Annotated[Path, typer.Option(help="Samples to judge by: as FOLDER/LABEL/images, or a CSV.")],
    calibration: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Samples to quantise with; default: a third of --golden, which then judges nothing."),
    ] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Nobody labelled the samples: the model's own answers count as true.")
    ] = False,
    output: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME", help="Which output of the model to read, where several fit."),
    ] = None,
    answers: Annotated[
        Literal["auto", "logits", "probabilities"],
        typer.Option(help="What a classifier answers with; auto: as its answers to the golden samples look."),
    ] = "auto",
    drop_first: Annotated[
        bool, typer.Option("--drop-first", help="The first output is a background class without a label.")
    ] = False,
    layout: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="How a detector writes boxes: yolov8, yolov5, yolov10, end2end, detr, …"),
    ] = None,
    score: Annotated[float, typer.Option(help="Of a detector: boxes that score less are not found.")] = 0.3,
    iou: Annotated[float, typer.Option(help="Of a detector: boxes of a label that overlap more are one.")] = 0.5,
    licence: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The terms of the weights; default: what the file says of itself."),
    ] = None,
    variants: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Comma-separated ENGINE-PRECISION; default: as `edgetl export` has it."),
    ] = None,
    device: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="A device profile: its variants are made, its bounds held."),
    ] = None,
    max_drop: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Points an int8 variant may lose before more is tried; default: the device's bound."),
    ] = None,
    escalate: Annotated[
        bool, typer.Option(help="Make an int8 variant again, with more effort, when it loses too much.")
    ] = True,
    calibration_samples: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Samples for quantisation; default: as many as measuring shows enough."),
    ] = None,
    per_tensor: Annotated[bool, typer.Option("--per-tensor", help="One weight scale a tensor, not a channel.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Draws the calibration and golden samples.")] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Turn an ONNX file from anywhere into a bundle; the file as it is gives the answers that all is held against."""
    require("export", *LIBRARIES)
    with heavy_imports():
        from edgetl.export.adopt.config import AdoptConfig
        from edgetl.export.adopt.stage import adopt
        from edgetl.export.config import ExportConfig

    named = names(variants)
    read = configured(
        {
            "task": task, "labels": str(labels), "preprocess": str(preprocess), "golden": str(golden),
            "calibration": str(calibration) if calibration else None, "unlabelled": unlabelled, "output": output,
            "answers": answers, "drop_first": drop_first, "layout": layout, "score": score, "iou": iou,
            "licence": licence,
        }, AdoptConfig,
    )  # fmt: skip
    config = configured(
        {
            "variants": named, "device": device, "max_drop": max_drop, "escalate": escalate,
            "calibration_samples": calibration_samples, "per_tensor": per_tensor, "seed": seed,
        }, ExportConfig,
    )  # fmt: skip
    result, _ = adopt(model, out, read, config, overwrite=overwrite, track=track, say=say)
    if as_json:
        console.print_json(result)
    else:
        console.stdout().print(show.export_table(msgspec.to_builtins(result)))
        typer.echo(f"{result.bundle} written in {result.seconds:.1f} s; report: {out / 'report.html'}")
    failed = [variant.id for variant in result.variants if not variant.held]
    if failed and named:
        say(f"not within the bound: {', '.join(failed)}")
        raise typer.Exit(GATE_FAILED)
