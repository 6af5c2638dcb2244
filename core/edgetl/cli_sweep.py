"""The command that searches the options of a fine-tuning: sweep."""

from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from edgetl import console
from edgetl.cli_finetune import TRAIN_LIBRARIES, merged
from edgetl.console import Json, reports_errors, say, table, track
from edgetl.plugins import heavy_imports, require

FIXED = "Fixed rather than searched"
SHOWN = 10
"""So many of the best trials stand in the table; sweep.json and the report have all."""


def _fixed(help: str) -> Any:
    return typer.Option(help=help, rich_help_panel=FIXED)


@reports_errors
def sweep(
    out: Annotated[Path, typer.Option("-o", "--out", help="The sweep's folder; one that exists is gone on with.")],
    data: Annotated[Optional[str], typer.Argument(help="The data set, as `finetune` takes it.")] = None,  # noqa: UP045
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A TOML file as for `finetune`; what its [loop] names is not searched."),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="How many in total, of all processes together.")] = 30,
    strategies: Annotated[
        str | None,
        typer.Option(help="Comma-separated; default: feature-extraction, fine-tune, partial and layer-wise."),
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=0.0, help="Begin no trial after so many minutes.")] = None,
    storage: Annotated[
        str | None, typer.Option(help="A database to share, such as sqlite:///sweep.db; default: a file in the folder.")
    ] = None,
    pruner: Annotated[str, typer.Option(help="What ends hopeless trials early: median, hyperband or none.")] = "median",
    backbone: Annotated[str | None, typer.Option(help="The architecture; default: mobilenet_v2.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="A .safetensors or .pth file, a run, `default` (default) or `none`.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=8, max=4096, help="Input side in pixels; default: the weights' own.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Draws splits, batches and trials.")] = None,
    epochs: Annotated[int | None, _fixed("Passes over the data; default: 20, from scratch 30. Never searched.")] = None,
    batch_size: Annotated[int | None, _fixed("Images a step.")] = None,
    learning_rate: Annotated[float | None, _fixed("Peak of the schedule.")] = None,
    weight_decay: Annotated[float | None, _fixed("Of AdamW.")] = None,
    rate_decay: Annotated[float | None, _fixed("Factor on the rate for every stage towards the stem.")] = None,
    freeze: Annotated[str | None, _fixed("Stages that never learn.")] = None,
    dropout: Annotated[float | None, _fixed("Before the head.")] = None,
    label_smoothing: Annotated[float | None, _fixed("Part of each label that is spread over all.")] = None,
    mixup: Annotated[float | None, _fixed("Alpha of mixup, 0 for none.")] = None,
    augment: Annotated[str | None, _fixed("crop-flip, shift or none. Never searched.")] = None,
    hold_out: Annotated[
        float | None, _fixed("Part of train set aside to choose by when there is no test. Never searched.")
    ] = None,
    skip_bad_images: Annotated[
        bool | None, typer.Option("--skip-bad-images", help="Leave undecodable images out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Search learning rate, batch size, regularisation and strategy; write the best as a configuration.

    The same command goes on with a sweep; started several times it shares the trials among the processes.
    """
    require("train", *TRAIN_LIBRARIES)
    require("sweep", "optuna")
    with heavy_imports():
        from edgetl.files import configured
        from edgetl.finetune.sweep.study import SweepConfig, sweep
        from edgetl.finetune.training.allocator import keep_large_blocks

    given = {
        "data": data, "backbone": backbone, "weights": weights, "size": size, "seed": seed,
        "skip_bad_images": skip_bad_images,
    }  # fmt: skip
    loop = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "weight_decay": weight_decay,
        "rate_decay": rate_decay, "freeze": freeze, "dropout": dropout, "label_smoothing": label_smoothing,
        "mixup": mixup, "augment": augment, "hold_out": hold_out,
    }  # fmt: skip
    named = [name.strip() for name in (strategies or "").split(",") if name.strip()]
    wanted = configured(
        {
            "base": merged(config, given, loop), "trials": trials, "strategies": named, "timeout_minutes": timeout,
            "storage": storage, "pruner": pruner,
        }, SweepConfig,
    )  # fmt: skip
    keep_large_blocks()
    result = sweep(wanted, out, track=track)
    if result.running:
        say(f"{result.running} trials of other processes are under way; the last to end writes the final result")
    if as_json:
        console.print_json(result)
    else:
        console.stdout().print(_view(result))


def _view(result: Any) -> RenderableType:
    """The best trials, then the winner and how to train it again."""
    from edgetl.finetune.sweep.report import described

    made = table("trial", result.metric, "epochs", "seconds", "options")
    for trial in result.ranked()[:SHOWN]:
        options = escape(described(trial.options))
        made.add_row(str(trial.number), f"{trial.score:.1%}", str(trial.epochs), f"{trial.seconds:.1f}", options)
    states = [trial.state for trial in result.trials]
    ended = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return Group(
        made,
        Text(f"{ended}; scores are of images set aside for choices, or cross-validated", style="dim"),
        Text(),
        *_winner(result.best),
    )


def _winner(best: Any) -> list[Text]:
    if best is None:
        return [Text("no trial is complete yet")]
    said = [Text(f"best: trial {best.number}, {best.run}")]
    if best.metrics is not None:
        scores = ", ".join(f"{name} {value:.1%}" for name, value in best.metrics.items() if name != "log_loss")
        said.append(Text(f"on {best.samples} {best.headline} images, looked at for the winner only: {scores}"))
    return [*said, Text.assemble("again: ", (best.command, "bold"))]
