"""The command that measures how fast a bundle is: bench."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import msgspec
import typer

from edgetl import console, show_bench, show_fleet
from edgetl.cli_remote import Asked, ask_elsewhere, elsewhere
from edgetl.console import Json, reports_errors, say, track
from edgetl.errors import ConfigError, suggest
from edgetl.keeping import keep_measurement
from edgetl.options import (
    AtOnce,
    BundleArgument,
    Device,
    FleetFile,
    On,
    RemoteEdgetl,
    RequireSignature,
    SshConfig,
    Variants,
    names,
    profile,
)  # fmt: skip

MLPERF_BOUND_MS = 15.0
"""MLPerf Inference's bound for ResNet-50 in the server scenario."""


@reports_errors
def bench(
    bundle: BundleArgument,
    device: Device = None,
    variants: Variants = None,
    scenario: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="single-stream, multi-stream, offline, server, cold-start or all; may be repeated. "
            "Default: single-stream and offline."
        ),
    ] = None,
    timed: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="engine (arrays to arrays), preprocessing (a decoded image to labels) or bytes (an encoded one to "
            "labels); may be repeated. Default: engine."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600.0, help="Least time for each scenario.")] = 2.0,
    bound_ms: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="What p99 must stay under in server; default: the profile's budget, else 15."),
    ] = None,
    concurrency: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, max=256, help="Callers at once in offline and server; default: the plan's, else 1."),
    ] = None,
    inputs: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A folder of images to ask, instead of the golden set."),
    ] = None,
    compare: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="Measure two subjects in turns: VARIANT, ENGINE, BUNDLE or BUNDLE:VARIANT. Once: against the one "
            "variant of --variants, else what `load` would open. Twice: these two."
        ),
    ] = None,
    launches: Annotated[int, typer.Option(min=2, max=100, help="Processes that --compare measures in.")] = 8,
    raw: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Also write every single time to this .npz file."),
    ] = None,
    require_signature: RequireSignature = None,
    on: On = None,
    fleet: FleetFile = None,
    remote_edgetl: RemoteEdgetl = None,
    ssh_config: SshConfig = None,
    at_once: AtOnce = 8,
    as_json: Json = False,
) -> None:
    """Measure how fast the variants are: latency, throughput, a rate under a bound, cold start; or compare two."""
    from edgetl.bundle import open_bundle
    from edgetl.runtime.bench.raw import check_raw, write_raw

    if raw:
        check_raw(raw)
    opened, device_profile = open_bundle(bundle, allowed_signers=require_signature), profile(device)
    place = elsewhere(on, remote_edgetl, ssh_config, fleet, at_once)
    if raw and place:
        raise ConfigError(
            "`--raw` cannot be written with `--on` and `--fleet`", hint="single times stay on the device that took them"
        )
    samples: dict[str, Any] = {}
    if compare and (scenario or timed or inputs or concurrency or bound_ms):
        raise ConfigError(
            "`--compare` times single queries to the engine alone", hint="leave the options of the scenarios out"
        )
    options = _options(scenario, timed, seconds, _bound(bound_ms, device_profile))
    view = show_bench.compare_view if compare else show_bench.bench_table
    if place:
        from edgetl.devices.compare import CompareReport
        from edgetl.devices.measure import BenchReport

        given = {"bound-ms": bound_ms, "concurrency": concurrency, "inputs": inputs}
        words = _compare_words(opened, names(variants), compare, launches) if compare else _bench_words(options, given)
        asked = Asked(
            command="bench", kind=CompareReport if compare else BenchReport, bundle=opened, device=device,
            variants=variants, words=words,
        )  # fmt: skip
        result = ask_elsewhere(place, asked, show_fleet.bench_tables, as_json=as_json)
        if result is None:
            return
    elif compare:
        result = _compare(opened, device_profile, names(variants), compare, launches, samples)
    else:
        from edgetl.devices.measure import bench

        result = bench(
            opened, device_profile, options, variants=names(variants), concurrency=concurrency, folder=inputs,
            keep=samples.__setitem__, track=track,
        )  # fmt: skip
    if as_json:
        console.print_json(result)
    else:
        console.stdout().print(view(msgspec.to_builtins(result)))
    if raw:
        write_raw(raw, samples, {"unit": "ms", "report": result})
        say(f"raw samples: {raw}")
    keep_measurement(opened, "bench", result, result.machine)


def _bench_words(options: Any, given: Mapping[str, Any]) -> list[str | Path]:
    """`options` and what else was `given`, as another computer is told them."""
    from edgetl.devices.fleet.command import option

    return [
        *(word for name in options.scenarios for word in option("scenario", name)),
        *(word for name in options.timed for word in option("timed", name)),
        *option("seconds", options.min_seconds),
        *(word for name, value in given.items() for word in option(name, value)),
    ]


def _compare_words(bundle: Any, variants: list[str] | None, wanted: list[str], launches: int) -> list[str | Path]:
    """The comparison of variants and engines of this bundle, as another computer is told of it."""
    from edgetl.devices.compare import find_subject
    from edgetl.devices.fleet.command import option

    _refuse_subjects(variants, wanted)
    first = bundle.manifest.variants[0]
    for name in wanted:
        if find_subject(name, bundle, like=first)[0] is not bundle:
            raise ConfigError(
                f"`{name}` is another bundle", hint="on another computer, compare variants or engines of one bundle"
            )
    return [*(word for name in wanted for word in option("compare", name)), *option("launches", launches)]


def _options(scenario: list[str] | None, timed: list[str] | None, seconds: float, bound_ms: float) -> Any:
    from edgetl.runtime.bench.options import SCENARIOS, STAGES, BenchOptions

    defaults = BenchOptions()
    wanted = _chosen("scenario", scenario or defaults.scenarios, SCENARIOS)
    return msgspec.structs.replace(
        defaults,
        scenarios=wanted,
        timed=_chosen("timed", timed or defaults.timed, STAGES),
        min_seconds=seconds,
        max_seconds=max(defaults.max_seconds, seconds),
        bound_ms=bound_ms,
    )


def _chosen(option: str, given: Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """The values of a repeated option, each once; `all` stands for all."""
    if strange := [word for word in given if word not in (*known, "all")]:
        raise ConfigError(f"`--{option}` cannot be `{strange[0]}`", hint=suggest(strange[0], [*known, "all"]))
    return known if "all" in given else tuple(dict.fromkeys(given))


def _bound(given: float | None, device_profile: Any) -> float:
    bound = given if given is not None else device_profile.latency.p99_ms or MLPERF_BOUND_MS
    if not (math.isfinite(bound) and 0 < bound <= 60_000):
        raise ConfigError(f"`--bound-ms` cannot be `{bound}`", hint="it is a time between 0 and 60000 ms")
    return float(bound)


def _compare(
    bundle: Any, device_profile: Any, variants: list[str] | None, wanted: list[str], launches: int, samples: Any
) -> Any:
    """The report; the times go to `samples`."""
    from edgetl.devices.compare import compare, find_subject
    from edgetl.devices.launches import LaunchPlan

    _refuse_subjects(variants, wanted)
    first = find_subject(wanted[0], bundle) if len(wanted) == 2 else _usual(bundle, variants)
    second = find_subject(wanted[-1], bundle, like=first[1])
    result, times = compare(first, second, device_profile, LaunchPlan(launches=launches), track=track)
    samples.update(a=times[0], b=times[1])
    return result


def _refuse_subjects(variants: list[str] | None, wanted: list[str]) -> None:
    if len(wanted) > 2 or len(variants or []) > 1 or (variants and len(wanted) > 1):
        raise ConfigError("two subjects are compared", hint="`--compare A --compare B`, or `--variants A --compare B`")


def _usual(bundle: Any, variants: list[str] | None) -> tuple[Any, Any]:
    """The variant named, else the one that would be opened here."""
    from edgetl.runtime import load

    if variants:
        return bundle, bundle.variant(variants[0])
    with load(bundle) as session:
        return bundle, session.variant
