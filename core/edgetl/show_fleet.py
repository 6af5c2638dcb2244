"""A fleet on the terminal: a line for each computer while it works, one table at the end."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from edgetl.console import say, stderr, table
from edgetl.show import drop_text, number, reason_text, verdict_text
from edgetl.show_bench import bench_table, compare_view

Values = Mapping[str, Any]


@contextmanager
def lines(names: Sequence[str]) -> Iterator[Callable[[str, str], None]]:
    """Takes lines about computers by name: a terminal shows the last of each in place, everything else all of them."""
    console = stderr()
    if not console.is_terminal:
        yield lambda name, text: say(f"{name}: {text}")
        return
    latest, lock = dict.fromkeys(names, "waits"), threading.Lock()
    with Live(_grid(latest), console=console, transient=True) as live:

        def hear(name: str, text: str) -> None:
            with lock:
                latest[name] = text
                live.update(_grid(latest))
                if "warning:" in text:
                    live.console.print(escape(f"{name}: {text}"), soft_wrap=True)

        yield hear


def _grid(latest: Mapping[str, str]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, text in latest.items():
        grid.add_row(f"[bold]{escape(name)}[/]", Text(text, no_wrap=True, overflow="ellipsis"))
    return grid


def fleet_table(report: Values) -> RenderableType:
    """Device × variant: its verdict, its drop, its latency, and what it did not pass; below, why, and one verdict."""
    made = table("device", "variant", "verdict", "drop, points", "p50 ms", "p99 ms", "not passed")
    lines: list[Text] = []
    for device in report["devices"]:
        name = escape(device["name"])
        if device["status"] == "error":
            made.add_row(name, "–", Text("error", style="bold red"), "–", "–", "–", "–")
            lines.append(Text.from_markup(f"[bold]{name}[/] error: {escape(_error(device['error']))}"))
            continue
        for variant in device["report"]["variants"]:
            why = [each for each in variant["reasons"] if each["verdict"] == variant["verdict"] != "pass"]
            layers = ", ".join(dict.fromkeys(each["layer"] for each in why))
            made.add_row(name, escape(variant["id"]), verdict_text(variant["verdict"]), *_cells(variant), layers)
            head = f"[bold]{name} {escape(variant['id'])}[/]"
            lines += [Text.from_markup(f"{head} {escape(each['layer'])}: {escape(reason_text(each))}") for each in why]
    final = Text.assemble(_count(report, "judged"), ": ", verdict_text(report["verdict"]))
    return Group(made, Text(), *lines, final)


def bench_tables(report: Values) -> RenderableType:
    """What each device measured, one after the other."""
    parts: list[RenderableType] = []
    for device in report["devices"]:
        parts.append(Text(f"{device['name']}, {device['address']}", style="bold"))
        error, found = device["error"], device["report"]
        view = compare_view if found and "ratio" in found else bench_table
        parts += [Text(f"error: {_error(error)}", style="red") if error else view(found), Text()]
    return Group(*parts, Text(_count(report, "measured")))


def _count(report: Values, what: str) -> str:
    count = sum(device["status"] == "judged" for device in report["devices"])
    return f"{report['bundle']} {what} on {count} of {len(report['devices'])} devices"


def _error(error: Values) -> str:
    return f"{error['message']} – {error['hint']}" if error["hint"] else str(error["message"])


def _cells(variant: Values) -> list[str]:
    latency = variant["latency_ms"]
    times = (number(latency and latency[name], "{:.2f}") for name in ("p50", "p99"))
    return [drop_text(variant["drop_points"]), *times]
