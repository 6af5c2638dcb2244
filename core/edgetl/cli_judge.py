"""The commands that judge a bundle: check, gate, selftest."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import msgspec
import typer

from edgetl import console, show
from edgetl.console import Json, disk_is_full, reports_errors, say, track
from edgetl.errors import ArtefactError, ConfigError, DependencyError
from edgetl.options import (
    GATE_FAILED,
    UNDECIDED,
    BundleArgument,
    Device,
    LabelledData,
    Sequential,
    Strict,
    UnlabelledData,
    Variants,
    names,
    profile,
)  # fmt: skip
from edgetl.plugins import heavy_imports, require


@reports_errors
def check(
    bundle: BundleArgument,
    device: Device = None,
    variants: Variants = None,
    data: LabelledData = None,
    sequential: Sequential = False,
    unlabelled: UnlabelledData = None,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Say whether the variants are still right on this machine: exit 0, 7 (no), 8 (undecided, --strict)."""
    from edgetl.bundle import open_bundle
    from edgetl.devices.check import check

    opened = open_bundle(bundle)
    new = _new_data(opened, data, unlabelled, sequential=sequential)
    report = check(opened, profile(device), variants=names(variants), new=new, track=track)
    if as_json:
        console.print_json(report)
    else:
        console.stdout().print(show.check_table(msgspec.to_builtins(report)))
    _end(opened, "check", report, strict=strict)


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
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--out", help="Also write the report, as JSON, for a later `--baseline`."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check, latency and comparison with a baseline as one exit code: 0, 7 (no), 8 (undecided, --strict)."""
    from edgetl.bundle import open_bundle
    from edgetl.devices.baseline import open_baseline
    from edgetl.devices.gate import gate
    from edgetl.devices.launches import LaunchPlan
    from edgetl.files import write_json

    if not math.isfinite(margin):
        raise ConfigError(f"`--margin` cannot be `{margin}`", hint="it is a number of percent")
    if out and (out.is_dir() or not out.parent.is_dir()):
        raise ConfigError(f"`{out}` cannot be written", hint="`-o` takes a file in a folder that exists")
    opened = open_bundle(bundle)
    before = open_baseline(baseline) if baseline else None
    report = gate(
        opened, profile(device), baseline=before, variants=names(variants), margin=margin / 100,
        new=_new_data(opened, data, unlabelled, sequential=sequential), plan=LaunchPlan(launches=launches), track=track,
    )  # fmt: skip
    if as_json:
        console.print_json(report)
    else:
        console.stdout().print(show.gate_table(msgspec.to_builtins(report)))
    if out:
        write_json(out, report)
    _end(opened, "gate", msgspec.structs.replace(report, answers={}), strict=strict)


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
    from edgetl.tasks.labelled import read_labelled, read_unlabelled

    if sequential and data is None:
        raise ConfigError("`--sequential` needs `--data`", hint="name a folder or a CSV of labelled images")
    if data is None and unlabelled is None:
        return None
    return NewData(
        labelled=tuple(read_labelled(data, bundle.manifest.task.labels)) if data else (),
        sequential=sequential,
        unlabelled=tuple(read_unlabelled(unlabelled)) if unlabelled else (),
    )


def _end(bundle: Any, command: Literal["check", "gate"], report: Any, *, strict: bool) -> None:
    """Keeps the report with the bundle and turns its verdict into the exit code."""
    if report.verdict == "skipped":
        raise DependencyError(
            "nothing was judged", hint="; ".join(sorted({r.text for v in report.variants for r in v.reasons}))
        )
    keep_measurement(bundle, command, report)
    if report.verdict == "undecided":
        say("warning: undecided; the reasons above say what would decide")
    code = {"fail": GATE_FAILED, "undecided": UNDECIDED if strict else 0}.get(report.verdict, 0)
    if code:
        raise typer.Exit(code)


def keep_measurement(bundle: Any, command: str, result: object) -> None:
    """Keeps the measurement beside the bundle; a read-only bundle is no reason to fail."""
    from edgetl.devices import measurements

    try:
        measurements.remember(bundle, command, result)
    except ArtefactError as error:
        say(f"warning: {error.message}")
    except OSError as error:
        if not disk_is_full(error):
            raise
        say(f"warning: the disk of `{bundle.path}` is full, the measurement is not kept")
