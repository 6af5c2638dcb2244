"""What `bench` measured, as tables: one for each scenario, every number with its unit, count and interval."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from edgetl.console import table

Values = Mapping[str, Any]
Row = tuple[str, str, Values]
"""Variant, what was timed, and the scenario's figures."""

NOISES = 5
"""So many lines about noise at most."""

TIMED = {
    "engine": "the engine alone: arrays in, arrays out",
    "preprocessing": "a decoded image to labels: resize, engine, labels",
    "bytes": "an encoded image to labels: decode, resize, engine, labels",
}
MS = "{:.2f}"


def bench_table(result: Values) -> RenderableType:
    """A table for each scenario, what the numbers mean, and what disturbed them."""
    parts: list[RenderableType] = []
    for scenario, show in TABLES.items():
        if rows := list(_rows(result, scenario)):
            parts += [show(rows), Text()]
    return Group(*parts, *_legend(result), *_remarks(result))


def compare_view(result: Values) -> RenderableType:
    """Both subjects, and how many times as long the second one takes."""
    made = table("", "subject", "p50 ms (95 %)")
    for name in ("a", "b"):
        side = result[name]
        subject = side["subject"]
        options = "".join(f" {key}={value}" for key, value in subject["options"].items())
        p50 = side["p50_ms"]
        made.add_row(
            name, escape(f"{subject['bundle']}:{subject['variant']}{options}"),
            _interval(p50["value"], (p50["low"], p50["high"]), MS),
        )  # fmt: skip
    ratio, plan = result["ratio"], result["plan"]
    count = f"{plan['launches']} launches × {plan['blocks'] * plan['queries']} queries each, in turns"
    lines = [
        Text.assemble(
            "b takes ",
            (_interval(ratio["value"], (ratio["low"], ratio["high"]), "{:.3f}"), "bold"),
            f" times as long as a ({count}): {_meaning(ratio)}",
        ),
        Text("single-stream, the engine alone; bounds one-sided at 95 %", style="dim"),
    ]
    warnings = [Text(f"noise: {'; '.join(result['noise']['warnings'])}", style="yellow")]
    return Group(made, Text(), *lines, *(warnings if result["noise"]["warnings"] else []))


def _meaning(ratio: Values) -> str:
    if ratio["low"] > 1:
        return "b is slower"
    return "b is faster" if ratio["high"] < 1 else "no difference shown"


def _rows(result: Values, scenario: str) -> Iterator[Row]:
    for variant in result["variants"]:
        for timed, scenarios in {variant["timed"]: variant["scenarios"], **variant["further"]}.items():
            if scenario in scenarios:
                yield variant["id"], timed, scenarios[scenario]


def _single_stream(rows: list[Row]) -> RenderableType:
    made = table(
        "single-stream", "timed", "p50 ms (95 %)", "p90 ms (95 %)", "p99 ms (95 %)", "queries", "warm-up queries"
    )
    for variant, timed, found in rows:
        made.add_row(variant, timed, *_percentiles(found), str(found["samples"]), _warmup(found))
    return made


def _multi_stream(rows: list[Row]) -> RenderableType:
    size = rows[0][2]["samples_per_query"]
    heads = (f"p{q} ms of {size} images (95 %)" for q in (50, 90, 99))
    made = table("multi-stream", "timed", *heads, "queries", "warm-up queries")
    for variant, timed, found in rows:
        made.add_row(variant, timed, *_percentiles(found), str(found["queries"]), _warmup(found))
    return made


def _offline(rows: list[Row]) -> RenderableType:
    metered = any(found["energy"] for _, _, found in rows)
    heads = ["offline", "timed", "images/s (95 %)", "images", "batch × callers", "warm-up queries"]
    made = table(*heads, *(["J/image", "W", "meters"] if metered else []))
    for variant, timed, found in rows:
        rate = _interval(found["per_second"], found["bounds_per_second"], "{:.0f}")
        asked = f"{found['batch']} × {found['concurrency']}"
        energy = found["energy"]
        joules = [f"{energy['joules_per_sample']:.3g}", f"{energy['watts']:.1f}", energy["source"]] if energy else []
        made.add_row(variant, timed, rate, str(found["samples"]), asked, _warmup(found), *joules)
    return made


def _server(rows: list[Row]) -> RenderableType:
    bound = rows[0][2]["bound_ms"]
    head = f"queries/s, p99 ≤ {bound:g} ms"
    made = table(
        "server", "timed", head, "does not hold", "p99 ms there (95 %)", "queries", "callers", "warm-up queries"
    )
    for variant, timed, found in rows:
        rate, failing = (_rate(found[f"{name}per_second"]) for name in ("", "failing_"))
        p99 = _interval(found["p99_ms"], found["bounds_ms"].get("p99"), MS)
        count = str(found["samples"])
        if found["reason"]:
            rate = f"{rate} ({found['reason']})"
        made.add_row(variant, timed, rate, failing, p99, count, str(found["concurrency"]), _warmup(found))
    return made


def _cold_start(rows: list[Row]) -> RenderableType:
    heads = ("first answer ms (range)", "of it load ms", "first inference ms", "peak memory MB", "processes")
    made = table("cold-start", *heads)
    for variant, _, found in rows:
        spreads = [_spread(found[f"{name}_ms"], "{:.0f}") for name in ("first_answer", "load")]
        first, memory = _spread(found["first_inference_ms"], MS), _spread(found["peak_memory_mb"], "{:.0f}")
        made.add_row(variant, *spreads, first, memory, str(found["starts"]))
    return made


TABLES: dict[str, Callable[[list[Row]], RenderableType]] = {
    "single-stream": _single_stream,
    "multi-stream": _multi_stream,
    "offline": _offline,
    "server": _server,
    "cold-start": _cold_start,
}


def _legend(result: Values) -> list[Text]:
    variants = result["variants"]
    runs = [f"{v['id']}: {v['facts']['precision']}, {v['facts']['threads']} threads" for v in variants]
    timed = dict.fromkeys(name for v in variants for name in (v["timed"], *v["further"]))
    lines = [f"{name}: {TIMED[name]}" for name in timed]
    if any("server" in v["scenarios"] for v in variants):
        lines.append("server: Poisson arrivals, one queue, first come first served; timed from the scheduled arrival")
    lines.append(f"inputs: {', '.join(dict.fromkeys(v['inputs'] for v in variants))}")
    lines.append("bounds one-sided at 95 %, of this process; – where there is too little for a finite one")
    return [Text("; ".join(runs)), *(Text(line, style="dim") for line in lines)]


def _remarks(result: Values) -> list[Text]:
    """What could not be measured, and which scenarios something else disturbed."""
    notes = dict.fromkeys(note for variant in result["variants"] for note in variant["notes"])
    noises = [
        f"noise, {variant} {scenario} {timed}: {'; '.join(noise['warnings'])}"
        for scenario in TABLES
        for variant, timed, found in _rows(result, scenario)
        if (noise := found["noise"]) and noise["warnings"]
    ]
    if len(noises) > NOISES:
        noises = [*noises[: NOISES - 1], f"noise in {len(noises) - NOISES + 1} more; `--json` has all"]
    skipped = [f"{name}: skipped, {reason}" for name, reason in result["skipped"].items()]
    return [*(Text(line, style="dim") for line in (*notes, *skipped)), *(Text(line, style="yellow") for line in noises)]


def _percentiles(found: Values) -> list[str]:
    return [_interval(found[f"{name}_ms"], found["bounds_ms"].get(name), MS) for name in ("p50", "p90", "p99")]


def _warmup(found: Values) -> str:
    warmup = found["warmup"]
    return f"{warmup['queries']}{'' if warmup['stable'] else ', not stable'}"


def _rate(value: float | None) -> str:
    return _number(value, "{:.0f}" if value is None or value >= 10 else "{:.2g}")


def _spread(found: Values | None, form: str) -> str:
    return "–" if found is None else _interval(found["median"], (found["low"], found["high"]), form)


def _interval(value: float | None, bounds: Any, form: str) -> str:
    if value is None or bounds is None:
        return _number(value, form)
    return f"{form.format(value)} ({_number(bounds[0], form)} … {_number(bounds[1], form)})"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
