"""The command that adapts pretrained weights to a user's samples: finetune, with every default overridable."""

import os
from pathlib import Path
from typing import Annotated, Any, Optional

import msgspec
import typer

from edgetl import console
from edgetl.console import Json, reports_errors, say, track
from edgetl.errors import ConfigError
from edgetl.options import Overwrite
from edgetl.plugins import heavy_imports, require

TRAIN_LIBRARIES = (
    "torch", "torchvision", "safetensors", "sklearn", "scipy", "onnx", "onnxscript", "matplotlib", "jinja2", "tomli_w",
    "imagehash",
)  # fmt: skip

TRAINING = "Training"
SPEED = "Speed"


def _choice(help: str) -> Any:
    return typer.Option(help=help, rich_help_panel=TRAINING)


@reports_errors
def finetune(
    out: Annotated[Path, typer.Option("-o", "--out", help="The run folder to write.")],
    data: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(
            help="Class folders, train/val/test folders of them, a .csv or .parquet manifest, or hf:NAME. For text a "
            ".csv, .jsonl or .parquet file with text and label; for detection a folder with boxes."
        ),
    ] = None,
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A TOML file, such as a run's config.toml; options given beside it win."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="image (default), text or detection.")] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="The architecture; default: mobilenet_v2. For text a folder in Hugging Face's layout, a name on its "
            "hub, or a run."
        ),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(help="For detection: ssdlite (default), retinanet, fcos, faster-rcnn or rt-detr."),
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="For detection: how boxes are written: auto (default), coco, voc or yolo.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="A .safetensors or .pth file, a run, `default` (default) or `none`.")
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="auto (default), feature-extraction, fine-tune, partial, progressive, layer-wise, full, from-scratch "
            "or none."
        ),
    ] = None,
    labels: Annotated[Optional[Path], typer.Option(help="For `--strategy none`: one label a line.")] = None,  # noqa: UP045
    size: Annotated[
        int | None, typer.Option(min=8, max=4096, help="Input side in pixels; default: the weights' own.")
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(min=2, max=8192, help="For text: tokens of the longest; default: chosen from the data."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Draws splits, folds, batches.")] = None,
    epochs: Annotated[int | None, _choice("Passes over the data.")] = None,
    batch_size: Annotated[int | None, _choice("Images or texts a step, of all processes together.")] = None,
    learning_rate: Annotated[float | None, _choice("Peak of the schedule.")] = None,
    warmup: Annotated[float | None, _choice("Part of all steps in which the rate rises.")] = None,
    weight_decay: Annotated[float | None, _choice("Of AdamW; never on norms and biases.")] = None,
    backbone_rate: Annotated[float | None, _choice("For detection: the backbone's part of the learning rate.")] = None,
    rate_decay: Annotated[float | None, _choice("Factor on the rate for every stage towards the stem.")] = None,
    freeze: Annotated[str | None, _choice("Stages that never learn: a number, a fraction, or a stage's name.")] = None,
    thaw: Annotated[int | None, _choice("Steps in which frozen stages are unfrozen, from the head backwards.")] = None,
    batch_norm: Annotated[str | None, _choice("Norms of learning stages: train or frozen.")] = None,
    dropout: Annotated[float | None, _choice("Before the head.")] = None,
    label_smoothing: Annotated[float | None, _choice("Part of each label that is spread over all.")] = None,
    mixup: Annotated[float | None, _choice("Alpha of mixup, 0 for none.")] = None,
    cutmix: Annotated[float | None, _choice("Alpha of CutMix, 0 for none.")] = None,
    ema: Annotated[float | None, _choice("Decay of the moving average of the weights, 0 for none.")] = None,
    clip_norm: Annotated[float | None, _choice("Largest gradient norm, 0 for any.")] = None,
    augment: Annotated[str | None, _choice("crop-flip, shift or none; for detection zoom-crop, flip or none.")] = None,
    imbalance: Annotated[str | None, _choice("auto, none, weights or sampling.")] = None,
    metric: Annotated[str | None, _choice("What the best epoch is chosen by: auto, top1 or macro_f1.")] = None,
    patience: Annotated[int | None, _choice("Epochs without a better one before it stops, 0 for never.")] = None,
    hold_out: Annotated[float | None, _choice("Part of train set aside for choices when there is no test.")] = None,
    views: Annotated[
        int | None, typer.Option(help="Cached views of each image at a frozen boundary.", rich_help_panel=SPEED)
    ] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16.", rich_help_panel=SPEED)] = None,
    compiled: Annotated[
        bool | None, typer.Option("--compile", help="Use torch.compile.", rich_help_panel=SPEED)
    ] = None,
    cache_gb: Annotated[
        float | None, typer.Option(min=0.0, help="What all caches may hold, in GB.", rich_help_panel=SPEED)
    ] = None,
    compare_scratch: Annotated[
        bool | None, typer.Option("--compare-scratch", help="Train the architecture from random weights beside it.")
    ] = None,
    tensorboard: Annotated[
        bool | None, typer.Option("--tensorboard", help="Write event files too, into the run's tensorboard/.")
    ] = None,
    skip_bad_images: Annotated[
        bool | None, typer.Option("--skip-bad-images", help="Leave undecodable images out.")
    ] = None,
    skip_bad_boxes: Annotated[
        bool | None,
        typer.Option(
            "--skip-bad-boxes", help="For detection: leave boxes out that are inside out or outside the photo."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted training of this run.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Adapt a pretrained backbone to your images, texts or boxes and write a run."""
    require("train", *TRAIN_LIBRARIES)
    given = {
        "data": data, "task": task, "backbone": backbone, "detector": detector, "format": format, "weights": weights,
        "strategy": strategy, "size": size, "max_length": max_length, "seed": seed,
        "labels": str(labels) if labels else None, "cache_gb": cache_gb, "compare_scratch": compare_scratch,
        "tensorboard": tensorboard, "skip_bad_images": skip_bad_images, "skip_bad_boxes": skip_bad_boxes,
    }  # fmt: skip
    loop = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "warmup": warmup,
        "weight_decay": weight_decay, "rate_decay": rate_decay, "freeze": freeze, "thaw": thaw,
        "batch_norm": batch_norm, "dropout": dropout, "label_smoothing": label_smoothing, "mixup": mixup,
        "cutmix": cutmix, "ema": ema, "clip_norm": clip_norm, "augment": augment, "imbalance": imbalance,
        "metric": metric, "patience": patience, "hold_out": hold_out, "views": views, "precision": precision,
        "compile": compiled, "backbone_rate": backbone_rate,
    }  # fmt: skip
    with heavy_imports():
        from edgetl.finetune.stages import stage_of
        from edgetl.finetune.training.allocator import keep_large_blocks

    keep_large_blocks()
    settings = merged(config, given, loop)
    try:
        with heavy_imports():
            stage = stage_of(settings.task)
        result = stage(settings, out, overwrite=overwrite, resume=resume, track=track)
    except KeyboardInterrupt:
        if out.resolve().with_name(f".{out.resolve().name[:100]}.unfinished").exists():
            say("the training so far is kept: the same command with `--resume` goes on with it")
        raise
    if os.environ.get("RANK", "0") == "0":  # of several processes the first speaks for all
        _report(result, SAMPLES[settings.task], as_json)


def merged(config: Path | None, given: dict[str, Any], loop: dict[str, Any]) -> Any:
    """The file's settings with the options that were given on top, as a FinetuneConfig."""
    from edgetl.files import configured, read_toml
    from edgetl.finetune.config import FinetuneConfig

    base = msgspec.to_builtins(read_toml(config, FinetuneConfig)) if config else {}
    settings = {**base, **{key: value for key, value in given.items() if value is not None}}
    settings["loop"] = {**base.get("loop", {}), **{key: value for key, value in loop.items() if value is not None}}
    if "data" not in settings:
        raise ConfigError("no data were named", hint="`edgetl finetune DATA -o RUN`, or `data` in `--config`")
    return configured(settings, FinetuneConfig)


SAMPLES = {"image": "images", "text": "texts", "detection": "images"}
"""What the samples of a task are called."""


def _report(result: Any, samples: str, as_json: bool) -> None:
    for line in (*result.leakage, *result.notes):
        say(line)
    for path in result.skipped:
        say(f"left out, cannot be decoded: {path}")
    if result.reason:
        say(f"strategy {result.strategy}: {result.reason}")
    for line in result.comparison.lines() if result.comparison else ():
        say(line)
    if as_json:
        console.print_json(result)
        return
    scores = ", ".join(f"{name} {value:.1%}" for name, value in result.metrics.items() if name != "log_loss")
    typer.echo(f"{result.run}: {scores} on {result.samples} {result.headline} {samples}, {result.seconds:.1f} s")
