"""The command that says which pretrained weights and which strategy suit a data set: advise."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from edgetl import console
from edgetl.console import Json, reports_errors, say, table, track
from edgetl.errors import ConfigError, DependencyError
from edgetl.options import Device
from edgetl.plugins import heavy_imports, require


@reports_errors
def advise(
    data: Annotated[str, typer.Argument(help="The data set, as `finetune` takes it; only its training images count.")],
    backbones: Annotated[str, typer.Option(help="Comma-separated architectures; one may stand twice.")],
    weights: Annotated[
        list[str], typer.Option(help="One for each backbone, in order: a file, a run, `default` or `none`.")
    ],
    device: Device = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Draws the images looked at, and folds.")] = 0,
    as_json: Json = False,
) -> None:
    """Rank pretrained weights by how well they fit your images, and say which strategy suits them.

    With `--device` each candidate's latency is measured too, on this machine, which must be such a device.
    """
    named = tuple(name.strip() for name in backbones.split(",") if name.strip())
    if not named or len(named) != len(weights):
        raise ConfigError(
            f"there are {len(named)} backbones and {len(weights)} weights",
            hint="one `--weights` for each of `--backbones`, in the same order",
        )
    require("train", "torch", "torchvision", "safetensors", "sklearn", "onnx", "onnxscript")
    with heavy_imports():
        from edgetl.finetune.advice.advise import AdviseConfig, Stopwatch, advise

    measured_with = _engine(device) if device is not None else None
    stopwatch = Stopwatch(engine=measured_with[0], options=measured_with[1]) if measured_with else None
    config = AdviseConfig(data=data, backbones=named, weights=tuple(weights), seed=seed)
    advice = advise(config, track, stopwatch=stopwatch)
    for path in advice.left_out:
        say(f"left out, cannot be decoded: {path}")
    if as_json:
        console.print_json(advice)
    else:
        console.stdout().print(advice_table(msgspec.to_builtins(advice)))


def _engine(device: str) -> tuple[str, dict[str, Any]]:
    """The first installed engine of the profile, and its options; this machine must fit the profile."""
    from edgetl.devices.catalogue import load_profile
    from edgetl.devices.matching import differences
    from edgetl.machine import detect
    from edgetl.plugins import ENGINES, missing

    profile = load_profile(device)
    if unlike := differences(profile, detect()):
        raise ConfigError(
            f"this machine is no `{profile.name}`: {'; '.join(unlike)}",
            hint="run `edgetl advise` on the device, or leave out `--device`",
        )
    for choice in profile.engines:
        if choice.name in ENGINES and not missing(ENGINES[choice.name]):
            return choice.name, dict(choice.options)
    wanted = ", ".join(f"`{choice.name}`" for choice in profile.engines)
    raise DependencyError(f"no engine of `{profile.name}` is installed", hint=f"install one of {wanted}")


def advice_table(advice: Mapping[str, Any]) -> RenderableType:
    """The candidates, best first, then what to do and why."""
    made = table(
        "backbone", "weights", "probe top-1", "neighbours", "LogME", "LEEP", "parameters, M", "GMAC", "p50 ms"
    )  # fmt: skip
    for each in advice["candidates"]:
        made.add_row(
            escape(each["backbone"]),
            escape(each["weights"]),
            f"{each['probe_top1']:.1%} ± {each['probe_top1_error']:.1%}",
            f"{each['neighbour_top1']:.1%}",
            f"{each['logme']:.3f}",
            "–" if each["leep"] is None else f"{each['leep']:.3f}",
            f"{each['parameters'] / 1e6:.2f}",
            f"{each['gmacs']:.2f}",
            f"{each['latency_ms']['p50']:.2f}" if each["latency_ms"] else "–",
        )
    best = advice["recommended"]
    first = advice["candidates"][0]
    notes = [
        f"{first['similarity']['samples']} training images, ± one standard error; LogME and LEEP: higher is better"
    ]
    if first["latency_ms"]:
        notes.append(f"latency: {first['latency_ms']['engine']} FP32, {first['latency_ms']['samples']} queries of one")
    command = f"--backbone {best['backbone']} --weights {best['weights']} --strategy {advice['strategy']}"
    return Group(
        made,
        *(Text(note, style="dim") for note in notes),
        Text(),
        Text.assemble("recommended: ", (command, "bold")),
        Text(f"{advice['case']}. {advice['reason']}"),
    )
