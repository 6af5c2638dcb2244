"""The command that measures how fast a bundle is: bench."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import msgspec
import typer

from edgetl import console, show_bench
from edgetl.cli_judge import keep_measurement
from edgetl.console import Json, reports_errors, say, track
from edgetl.errors import ConfigError, suggest
from edgetl.options import BundleArgument, Device, Variants, names, profile

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
    as_json: Json = False,
) -> None:
    """Measure how fast the variants are: latency, throughput, a rate under a bound, cold start; or compare two."""
    from edgetl.bundle import open_bundle
    from edgetl.runtime.bench.raw import check_raw, write_raw

    if raw:
        check_raw(raw)
    opened, device_profile = open_bundle(bundle), profile(device)
    samples: dict[str, Any] = {}
    if compare:
        if scenario or timed or inputs or concurrency or bound_ms:
            raise ConfigError(
                "`--compare` times single queries to the engine alone", hint="leave the options of the scenarios out"
            )
        result, view = _compare(opened, device_profile, names(variants), compare, launches, samples)
    else:
        from edgetl.devices.measure import bench

        options = _options(scenario, timed, seconds, _bound(bound_ms, device_profile))
        result = bench(
            opened, device_profile, options, variants=names(variants), concurrency=concurrency, folder=inputs,
            keep=samples.__setitem__, track=track,
        )  # fmt: skip
        view = show_bench.bench_table
    if as_json:
        console.print_json(result)
    else:
        console.stdout().print(view(msgspec.to_builtins(result)))
    if raw:
        write_raw(raw, samples, {"unit": "ms", "report": result})
        say(f"raw samples: {raw}")
    keep_measurement(opened, "bench", result)


def _options(scenario: list[str] | None, timed: list[str] | None, seconds: float, bound_ms: float) -> Any:
    from edgetl.runtime.bench.options import SCENARIOS, STAGES, BenchOptions

    defaults = BenchOptions()
    wanted = _words("scenario", scenario or defaults.scenarios, SCENARIOS)
    return msgspec.structs.replace(
        defaults,
        scenarios=wanted,
        timed=_words("timed", timed or defaults.timed, STAGES),
        min_seconds=seconds,
        max_seconds=max(defaults.max_seconds, seconds),
        bound_ms=bound_ms,
    )


def _words(option: str, given: Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
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
) -> tuple[Any, Any]:
    """The report and how it is shown; the times go to `samples`."""
    from edgetl.devices.compare import compare, find_subject
    from edgetl.devices.launches import LaunchPlan

    if len(wanted) > 2 or len(variants or []) > 1 or (variants and len(wanted) > 1):
        raise ConfigError("two subjects are compared", hint="`--compare A --compare B`, or `--variants A --compare B`")
    first = find_subject(wanted[0], bundle) if len(wanted) == 2 else _usual(bundle, variants)
    second = find_subject(wanted[-1], bundle, like=first[1])
    result, times = compare(first, second, device_profile, LaunchPlan(launches=launches), track=track)
    samples.update(a=times[0], b=times[1])
    return result, show_bench.compare_view


def _usual(bundle: Any, variants: list[str] | None) -> tuple[Any, Any]:
    """The variant named, else the one that would be opened here."""
    from edgetl.runtime import load

    if variants:
        return bundle, bundle.variant(variants[0])
    with load(bundle) as session:
        return bundle, session.variant
