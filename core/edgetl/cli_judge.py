"""The commands that judge a bundle: check, gate, selftest."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import msgspec
import typer
from rich.console import RenderableType

from edgetl import console, show, show_fleet
from edgetl.cli_remote import OPEN_QUESTION, Asked, Place, ask_elsewhere, elsewhere
from edgetl.console import Json, reports_errors, say, track
from edgetl.errors import ConfigError, DependencyError
from edgetl.keeping import keep_measurement
from edgetl.options import (
    GATE_FAILED,
    UNDECIDED,
    AtOnce,
    BundleArgument,
    Device,
    FleetFile,
    LabelledData,
    On,
    RemoteEdgetl,
    RequireSignature,
    Sequential,
    SshConfig,
    Strict,
    UnlabelledData,
    Variants,
    names,
    profile,
)  # fmt: skip
from edgetl.plugins import heavy_imports, require
from edgetl.publishing import Html, JUnit, Markdown, Publication, check_place, publication, publish, publish_fleet


@reports_errors
def check(
    bundle: BundleArgument,
    device: Device = None,
    variants: Variants = None,
    data: LabelledData = None,
    sequential: Sequential = False,
    unlabelled: UnlabelledData = None,
    strict: Strict = False,
    require_signature: RequireSignature = None,
    junit: JUnit = None,
    markdown: Markdown = None,
    html: Html = None,
    on: On = None,
    fleet: FleetFile = None,
    remote_edgetl: RemoteEdgetl = None,
    ssh_config: SshConfig = None,
    at_once: AtOnce = 8,
    as_json: Json = False,
) -> None:
    """Say whether the variants are still right on this machine: exit 0, 7 (no), 8 (undecided, --strict)."""
    from edgetl.bundle import open_bundle
    from edgetl.devices.check import check
    from edgetl.devices.verdict import Report

    files = publication(junit, markdown, html, fleet)
    opened = open_bundle(bundle, allowed_signers=require_signature)
    place = elsewhere(on, remote_edgetl, ssh_config, fleet, at_once)
    new = _new_data(opened, data, unlabelled, sequential=sequential)
    if place is None:
        report = check(opened, profile(device), variants=names(variants), new=new, track=track)
    else:
        asked = Asked(
            command="check", kind=Report, bundle=opened, device=device, variants=variants,
            words=_data_words(data, unlabelled, sequential=sequential),
        )  # fmt: skip
        report = _asked(place, asked, files, strict=strict, as_json=as_json)
        if report is None:
            return
    _show(report, show.check_table, as_json=as_json)
    _end(opened, "check", report, device, files, strict=strict)


@reports_errors
def gate(
    bundle: BundleArgument,
    device: Device = None,
    baseline: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="An earlier bundle, or the report an earlier gate wrote (`-o`)."),
    ] = None,
    variants: Variants = None,
    margin: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="Percent that the median latency may rise over the baseline's.")
    ] = 5.0,
    launches: Annotated[int, typer.Option(min=5, max=100, help="Processes that latency is measured in.")] = 8,
    data: LabelledData = None,
    sequential: Sequential = False,
    unlabelled: UnlabelledData = None,
    strict: Strict = False,
    require_signature: RequireSignature = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--out", help="Also write the report, as JSON, for a later `--baseline`."),
    ] = None,
    junit: JUnit = None,
    markdown: Markdown = None,
    html: Html = None,
    on: On = None,
    fleet: FleetFile = None,
    remote_edgetl: RemoteEdgetl = None,
    ssh_config: SshConfig = None,
    at_once: AtOnce = 8,
    as_json: Json = False,
) -> None:
    """Check, latency and comparison with a baseline as one exit code: 0, 7 (no), 8 (undecided, --strict)."""
    from edgetl.bundle import open_bundle
    from edgetl.devices.baseline import GateReport, open_baseline
    from edgetl.devices.fleet.command import option
    from edgetl.devices.gate import gate
    from edgetl.devices.launches import LaunchPlan
    from edgetl.files import write_json

    if not math.isfinite(margin):
        raise ConfigError(f"`--margin` cannot be `{margin}`", hint="it is a number of percent")
    if out:
        check_place(out)
    if out and fleet:
        raise ConfigError("`-o` writes one report, `--fleet` makes many", hint="`--json` has them all")
    files = publication(junit, markdown, html, fleet)
    opened = open_bundle(bundle, allowed_signers=require_signature)
    place = elsewhere(on, remote_edgetl, ssh_config, fleet, at_once)
    before = open_baseline(baseline) if baseline else None
    new = _new_data(opened, data, unlabelled, sequential=sequential)
    if place is None:
        report = gate(
            opened, profile(device), baseline=before, variants=names(variants), margin=margin / 100,
            new=new, plan=LaunchPlan(launches=launches), track=track,
        )  # fmt: skip
    else:
        how = [*option("baseline", baseline), *option("margin", margin), *option("launches", launches)]
        asked = Asked(
            command="gate", kind=GateReport, bundle=opened, device=device, variants=variants,
            words=[*how, *_data_words(data, unlabelled, sequential=sequential)],
        )  # fmt: skip
        report = _asked(place, asked, files, strict=strict, as_json=as_json)
        if report is None:
            return
    _show(report, show.gate_table, as_json=as_json)
    if out:
        write_json(out, report)
    _end(opened, "gate", report, device, files, strict=strict)


@reports_errors
def selftest(
    bundle: BundleArgument,
    device: Device = None,
    variants: Variants = None,
    as_json: Json = False,
) -> None:
    """Plant every known fault in a copy of the bundle: does `check` notice? Exit 7 when one is missed."""
    require("export", "onnx", "onnxruntime")
    from edgetl.bundle import open_bundle

    with heavy_imports():
        from edgetl.export.selftest import selftest

    result = selftest(open_bundle(bundle), profile(device), variants=names(variants), track=track)
    if as_json:
        console.print_json(result)
    else:
        console.stdout().print(show.selftest_table(msgspec.to_builtins(result)))
    if result.verdict == "fail":
        raise typer.Exit(GATE_FAILED)


def _new_data(bundle: Any, data: Path | None, unlabelled: Path | None, *, sequential: bool) -> Any:
    """What `--data`, `--sequential` and `--unlabelled` bring, or None."""
    from edgetl.devices.evidence import NewData

    if sequential and data is None:
        raise ConfigError("`--sequential` needs `--data`", hint="name labelled samples")
    if data is None and unlabelled is None:
        return None
    task = bundle.manifest.task
    return NewData(
        labelled=tuple(task.labelled(data)) if data else (),
        sequential=sequential,
        unlabelled=tuple(task.unlabelled(unlabelled)) if unlabelled else (),
    )


def _asked(place: Place, asked: Asked, files: Publication, *, strict: bool, as_json: bool) -> Any:
    """The report of the one computer; None after a fleet, with which all is done."""
    everywhere = partial(publish_fleet, files, strict=strict)
    return ask_elsewhere(place, asked, show_fleet.fleet_table, publish=everywhere, strict=strict, as_json=as_json)


def _data_words(data: Path | None, unlabelled: Path | None, *, sequential: bool) -> list[str | Path]:
    """What another computer is told of new images."""
    from edgetl.devices.fleet.command import option

    return [*option("data", data), *option("sequential", sequential), *option("unlabelled", unlabelled)]


def _show(report: Any, view: Callable[[Mapping[str, Any]], RenderableType], *, as_json: bool) -> None:
    """Prints a report, wherever it was made."""
    if as_json:
        console.print_json(report)
    else:
        console.stdout().print(view(msgspec.to_builtins(report)))


def _end(
    bundle: Any,
    command: Literal["check", "gate"],
    report: Any,
    device: str | None,
    files: Publication,
    *,
    strict: bool,
) -> None:
    """Keeps the report with the bundle, writes the files asked for and turns its verdict into the exit code."""
    if report.verdict != "skipped":
        keep_measurement(bundle, command, report, report.machine)
    publish(files, report, bundle, device, strict=strict)
    if report.verdict == "skipped":
        raise DependencyError(
            "nothing was judged", hint="; ".join(sorted({r.text for v in report.variants for r in v.reasons}))
        )
    if report.verdict == "undecided":
        say(OPEN_QUESTION)
    code = {"fail": GATE_FAILED, "undecided": UNDECIDED if strict else 0}.get(report.verdict, 0)
    if code:
        raise typer.Exit(code)
