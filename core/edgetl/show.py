"""Results as tables that explain themselves. Takes the plain values of a result; knows no other area."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from edgetl.console import table
from edgetl.metrics import TITLES
from edgetl.show_bench import bench_table

STYLES = {
    "pass": "green",
    "verified": "green",
    "fail": "bold red",
    "failed": "bold red",
    "undecided": "yellow",
}

Values = Mapping[str, Any]


def verdict_text(verdict: str) -> Text:
    return Text(verdict, style=STYLES.get(verdict, "dim"))


def check_table(report: Values) -> RenderableType:
    """The table of `check`, the reasons for everything that did not pass, and the verdict."""
    made = table(
        "variant",
        "verdict",
        "runs",
        _metric(report),
        f"drop, points ({confidence(report)})",
        "agrees",
        "SQNR dB",
        "max Δlogit",
        "p50 ms",
        "p99 ms",
        "MB",
    )
    for variant in report["variants"]:
        made.add_row(variant["id"], verdict_text(variant["verdict"]), *_check_cells(variant))
    lines = [
        Text.from_markup(f"[bold]{escape(variant['id'])}[/] {escape(reason['layer'])}: {escape(reason_text(reason))}")
        for variant in report["variants"]
        for reason in variant["reasons"]
        if reason["verdict"] != "pass" or reason["cause"]
    ]
    final = Text.assemble(f"{report['bundle']} on {report['device']}: ", verdict_text(report["verdict"]))
    return Group(made, Text(), *_resources(report), *lines, final)


def confidence(report: Values) -> str:
    """How sure the report's bounds are; reports of earlier releases do not say."""
    return f"{100 * report.get('confidence', 0.95):g} %"


def _resources(report: Values) -> list[RenderableType]:
    """What was measured because the profile bounds it; nothing when it does not."""
    found = {variant["id"]: variant["resources"] for variant in report["variants"] if variant["resources"]}
    if not found:
        return []
    sure = confidence(report)
    made = table("variant", f"samples/s ({sure})", f"cold start ms ({sure})", "RSS MB")
    for name, each in found.items():
        speed, start = (
            _around(each, *keys) for keys in (("per_second", "per_second"), ("cold_start_ms", "cold_start"))
        )
        made.add_row(name, speed, start, number(each["rss_mb"], "{:.1f}"))
    return [made, Text()]


def _around(each: Values, value: str, bounds: str) -> str:
    if each[value] is None:
        return "–"
    low, high = (number(each[f"{bounds}_{side}"], "{:.1f}") for side in ("low", "high"))
    return f"{each[value]:.1f} ({low} … {high})"


def _metric(report: Values) -> str:
    """The name of the metric that was judged, for the head of its column."""
    names = {variant["metric"]["name"] for variant in report["variants"] if variant["metric"]}
    return TITLES[next(iter(names), "top1")]


def reason_text(reason: Values) -> str:
    """What was found, and its cause where that is known."""
    return f"{reason['text']} — {reason['cause']}" if reason["cause"] else str(reason["text"])


def drop_text(drop: Values | None) -> str:
    """A drop in points with its bounds."""
    return f"{drop['value']:+.2f} ({drop['low']:.2f} … {drop['high']:.2f})" if drop else "–"


def _check_cells(variant: Values) -> list[str]:
    facts, metric, drop, latency = (variant[key] for key in ("facts", "metric", "drop_points", "latency_ms"))
    return [
        f"{facts['provider'].removesuffix('ExecutionProvider')} {facts['precision']}, {facts['threads']} threads"
        if facts
        else "–",
        f"{metric['value']:.1%}" if metric else "–",
        drop_text(drop),
        number(variant["agreement"], "{:.1%}"),
        number(variant["sqnr_db"], "{:.1f}"),
        number(variant["max_abs_dlogit"], "{:.2g}"),
        number(latency and latency["p50"], "{:.2f}"),
        number(latency and latency["p99"], "{:.2f}"),
        number(variant["size_bytes"] / 1e6 if variant["size_bytes"] else None, "{:.1f}"),
    ]


def gate_table(report: Values) -> RenderableType:
    """The table of `check`, latency with its bounds, and every answer of the comparison."""
    sure = confidence(report)
    made = table("variant", f"p50 ms ({sure})", f"p99 ms ({sure})", "baseline's p50 ms")
    for variant in report["variants"]:
        if latency := variant["latency_ms"]:
            before = variant["baseline_latency_ms"]
            earlier = _bounded(before, "p50") if before else "–"
            made.add_row(variant["id"], _bounded(latency, "p50"), _bounded(latency, "p99"), earlier)
    compared = [
        Text.from_markup(
            f"[bold]{escape(variant['id'])}[/] against {escape(report['baseline'])}: {escape(reason['text'])}"
        )
        for variant in report["variants"]
        for reason in variant["reasons"]
        if reason["layer"] == "baseline" and reason["verdict"] == "pass"
    ]
    return Group(made, Text(), *compared, check_table(report))


def _bounded(latency: Values, name: str) -> str:
    if latency[name] is None:
        return "–"
    low, high = (number(latency[f"{name}_{side}"], "{:.2f}") for side in ("low", "high"))
    return f"{latency[name]:.2f} ({low} … {high})"


def selftest_table(result: Values) -> RenderableType:
    """What each planted fault came to."""
    made = table("variant", "fault", "outcome", "by", "cause")
    for trial in result["trials"]:
        if trial["outcome"] != "not applicable":
            outcome = Text(trial["outcome"], style="green" if trial["outcome"] == "caught" else "bold red")
            made.add_row(trial["variant"], escape(trial["fault"]), outcome, trial["by"], escape(trial["cause"]))
    planted = [trial for trial in result["trials"] if trial["outcome"] != "not applicable"]
    caught = sum(trial["outcome"] == "caught" for trial in planted)
    clean = ", ".join(f"{name} {verdict}" for name, verdict in result["clean"].items())
    return Group(made, Text(), Text(f"caught {caught} of {len(planted)} faults; without a fault: {clean}"))


def _why(variant: Mapping[str, Any]) -> str:
    """The reason in full where something is open, else only what it took."""
    if variant["verdict"] != "pass":
        return str(variant["reason"])
    return str(variant["reason"]).partition("; ")[0] if variant["steps"] else "all layers passed"


def export_table(result: Values) -> RenderableType:
    made = table("variant", "status", "verdict", "MB", "why")
    for variant in result["variants"]:
        made.add_row(
            variant["id"],
            verdict_text(variant["status"]),
            verdict_text(variant["verdict"]),
            f"{variant['size_bytes'] / 1e6:.1f}",
            escape(_why(variant)),
        )
    return made


def pairs(rows: Sequence[tuple[str, str]]) -> RenderableType:
    """Two columns: a name and its value."""
    made = table("", "")
    made.show_header = False
    for name, value in rows:
        made.add_row(f"[bold]{escape(name)}[/]", escape(value))
    return made


def number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def manifest_view(manifest: Values, measured: Values) -> RenderableType:
    """The table of `inspect`."""
    source, golden, task = manifest["source"], manifest["golden"], manifest["task"]
    labels = task["labels"]
    rows = [
        ("schema", manifest["schema"]),
        (
            "task",
            f"{task['task']}, {len(labels)} labels: {', '.join(labels[:8])}{', …' if len(labels) > 8 else ''}",
        ),
        ("input", ", ".join(f"{name} {value}" for name, value in task["input"].items())),
        ("source", f"run {source['run']}, {source['backbone']}, {source['strategy']}"),
        ("weights", _weights(source["weights"])),
        (
            "model",
            f"SHA-256 {source['model_sha256'][:12] or 'unknown'} (the run's weights)",
        ),
        ("data", f"fingerprint {source['data_fingerprint'][:12]}"),
        ("golden set", f"{golden['kind']}, {golden['samples']} samples, {len(golden['encoded'])} encoded"),
        ("versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())),
        ("files", f"{len(manifest['files'])}, {sum(f['size'] for f in manifest['files']) / 1e6:.1f} MB"),
        ("measurements", _measured(measured["records"])),
    ]
    made = table("variant", "status", "verdict at export", "files")
    for variant in manifest["variants"]:
        made.add_row(
            variant["id"],
            verdict_text(variant["status"]),
            verdict_text(variant["verdict"]),
            ", ".join(variant["files"]),
        )
    return Group(pairs(rows), Text(), made)


def _weights(weights: Values) -> str:
    place = f" from {weights['url']}" if weights["url"] else ""
    return f"{weights['origin']}{place}, SHA-256 {weights['sha256'][:12]}; licence: {weights['licence']}"


def _measured(records: Sequence[Values]) -> str:
    if not records:
        return "none yet"
    last = records[-1]
    return f"{len(records)}, the last a {last['command']} at {last['when']} on {last['machine']['cpu']}"


def demo_view(result: Values) -> RenderableType:
    """What the demo shows at its end: the transfer gain, one table, where things lie."""
    gain = 100 * (result["transfer_top1"] - result["scratch_top1"])
    head = Text.assemble(
        "digits 5–9 from ten images a class: ",
        (f"{result['transfer_top1']:.1%}", "bold green"),
        f" with the network pretrained on digits 0–4, {result['scratch_top1']:.1%} from scratch ",
        f"({gain:+.1f} points, {result['epochs']} epochs each, {result['samples']} validation images)",
    )
    places = [("bundle", result["bundle"]), ("report", result["report"])]
    return Group(
        head,
        Text(),
        check_table(result["check"]),
        Text(),
        bench_table(result["bench"]),
        Text(),
        pairs(places),
    )
