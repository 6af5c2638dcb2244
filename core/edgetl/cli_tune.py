"""The command that chooses by measuring: tune."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from edgetl import console
from edgetl.cli_remote import Asked, Place, ask_device, elsewhere
from edgetl.console import Json, reports_errors, table, track
from edgetl.errors import ArtefactError, ConfigError
from edgetl.keeping import keep_measurement
from edgetl.options import (
    GATE_FAILED,
    UNDECIDED,
    BundleArgument,
    Device,
    On,
    RemoteEdgetl,
    RequireSignature,
    SshConfig,
    profile,
)

Values = Mapping[str, Any]

OTHERS = 1
"""So many candidates of each variant are shown beside those chosen; `--json` has all."""


@reports_errors
def tune(
    bundle: BundleArgument,
    device: Device = None,
    minutes: Annotated[float, typer.Option(min=0.01, max=1440.0, help="About how long to measure.")] = 5.0,
    max_drop: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.01, max=99.9, help="Points of accuracy that may be lost; default: the profile's."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Leave out variants whose verdict is undecided.")] = False,
    require_signature: RequireSignature = None,
    on: On = None,
    remote_edgetl: RemoteEdgetl = None,
    ssh_config: SshConfig = None,
    as_json: Json = False,
) -> None:
    """Measure which variant and options are fastest here, and keep the choice as the device's plan: exit 0, 3, 7, 8."""
    place = elsewhere(on, remote_edgetl, ssh_config)
    tune_bundle(
        bundle, device, minutes=minutes, max_drop=max_drop, strict=strict, place=place,
        require_signature=require_signature, as_json=as_json,
    )  # fmt: skip


def tune_bundle(
    bundle: Path,
    device: str | None,
    *,
    minutes: float = 5.0,
    max_drop: float | None = None,
    strict: bool = False,
    place: Place | None = None,
    require_signature: Path | None = None,
    as_json: bool,
    also: object = None,
) -> None:
    """Tunes and prints; `also` is a result whose keys are printed as well, with the tuning under `tune`."""
    from edgetl.bundle import open_bundle
    from edgetl.devices.tuning.tune import TuneConfig, tune

    opened = open_bundle(bundle, allowed_signers=require_signature)
    if place is not None:
        report = _tune_there(place, opened, device, minutes, max_drop, strict=strict)
    else:
        chosen = profile(device)
        if max_drop is not None:
            accuracy = msgspec.structs.replace(chosen.accuracy, max_drop_points=max_drop)
            chosen = msgspec.structs.replace(chosen, accuracy=accuracy)
        report = tune(opened, chosen, TuneConfig(minutes=minutes, strict=strict), track=track)
    if as_json:
        console.print_json({**msgspec.to_builtins(also), "tune": report} if also is not None else report)
    else:
        console.stdout().print(tune_table(msgspec.to_builtins(report)))
    if report.plan is None:
        undecided = any(variant.verdict == "undecided" for variant in report.variants)
        raise typer.Exit(UNDECIDED if undecided else GATE_FAILED)
    keep_measurement(opened, "tune", report, report.machine)


def _tune_there(
    place: Place, bundle: Any, device: str | None, minutes: float, max_drop: float | None, *, strict: bool
) -> Any:
    """The report of another computer; the plan it wrote lies in the bundle here, too."""
    from edgetl.devices.fleet.command import option
    from edgetl.devices.tuning.tune import TuneReport, make_room
    from edgetl.runtime.plan import plan_path

    if device is None:
        raise ConfigError("`--on` needs `--device`", hint="the plan is kept under that name; `edgetl devices list`")
    chosen = profile(device)
    make_room(bundle, chosen)
    words = [*option("minutes", minutes), *option("max-drop", max_drop), *option("strict", strict)]
    asked = Asked(command="tune", kind=TuneReport, bundle=bundle, device=device, words=words)
    report, brought = ask_device(place, asked)
    if report.plan is None:
        return report
    path = plan_path(bundle, chosen.name)
    if path.relative_to(bundle.path).as_posix() not in brought:
        raise ArtefactError(f"`{place.on}` sent no plan", hint="install the same edgetl there as here")
    return msgspec.structs.replace(report, plan_path=str(path))


def tune_table(report: Values) -> RenderableType:
    """What was chosen, the fastest of every other variant, and why variants were left out."""
    made = table("variant", "options", "p50 ms (95 %)", "images/s (95 %)", "drop, points", "MB", "chosen for")
    known = {variant["id"]: variant for variant in report["variants"]}
    for row in _rows(report["candidates"]):
        variant, choice = known[row["choice"]["variant"]], row["choice"]
        drop = variant["drop_points"]
        made.add_row(
            choice["variant"],
            escape(_options(choice)),
            _figure(choice["p50_ms"], "{:.2f}"),
            _figure(choice["per_second"], "{:.0f}"),
            f"{drop['value']:+.2f}" if drop else "–",
            f"{variant['size_bytes'] / 1e6:.1f}",
            Text(row["aim"], style="green") if row["chosen"] else "",
        )
    lines = [
        Text.from_markup(f"[bold]{escape(each['id'])}[/] is no candidate, {each['verdict']}: {escape(each['reason'])}")
        for each in report["variants"]
        if each["id"] not in {candidate["choice"]["variant"] for candidate in report["candidates"]}
    ]
    return Group(made, Text(), *lines, Text(_conclusion(report)))


def _rows(candidates: Sequence[Values]) -> list[dict[str, Any]]:
    """For both aims the choice first, then the best candidate of each other variant."""
    rows: list[dict[str, Any]] = []
    for aim in ("latency", "throughput"):
        seen: dict[str, int] = {}
        measured = [each for each in candidates if each["aim"] == aim and each["refused"] is None]
        for each in sorted(measured, key=lambda each: not each["chosen"]):
            name = each["choice"]["variant"]
            seen[name] = seen.get(name, 0) + 1
            if seen[name] <= OTHERS:
                rows.append(dict(each))
    return rows


def _options(choice: Values) -> str:
    asked = {"batch": choice["batch"], "callers": choice["concurrency"]}
    shown = [f"{name} {value}" for name, value in choice["options"].items() if name != "batch"]
    # an engine's own `batch` option: the graph is compiled for that size alone
    shown += ["fixed batch"] if "batch" in choice["options"] else []
    return ", ".join(shown + [f"{name} {value}" for name, value in asked.items() if value > 1]) or "the engine's own"


def _figure(found: Values | None, form: str) -> str:
    if found is None:
        return "–"
    value = form.format(found["value"])
    return value if found["low"] is None else f"{value} ({form.format(found['low'])} … {form.format(found['high'])})"


def _conclusion(report: Values) -> str:
    where = f"{report['bundle']} on {report['device']}, {report['seconds']:.0f} s"
    if report["plan"] is None:
        return f"{where}: no variant may ship here, so no plan was written"
    front = ", ".join(each["variant"] for each in report["plan"]["front"])
    how = "fresh processes" if report["plan"]["latency_from"] == "launches" else "this process"
    return f"{where}: plan written to {report['plan_path']}; latency settled in {how}; Pareto front: {front}"
