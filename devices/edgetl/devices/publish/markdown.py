"""A report as GitHub-flavoured Markdown, for the summary of a CI job."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from edgetl.devices.baseline import GateReport
from edgetl.devices.publish.reading import Published, command_of
from edgetl.devices.verdict import ClassReport, Interval, Latency, Reason, Resources, VariantReport
from edgetl.files import write_bytes
from edgetl.metrics import TITLES
from edgetl.types import EngineFacts, Verdict

T = TypeVar("T")

SIGNS: dict[Verdict, str] = {"pass": "✅", "fail": "❌", "undecided": "❔", "skipped": "⏭️"}

ORDER: tuple[Verdict, ...] = ("fail", "undecided", "skipped", "pass")
"""Where not all fit, the rows are kept in this order."""

MAX_ROWS = 100
"""Rows of a table and reasons of a list; the rest is counted. With `MAX_TEXT` a page stays below GitHub's 1 MiB."""

MAX_TEXT = 300
"""Characters of a reason; of a name, a quarter."""

SPECIAL = {ord(mark): f"&#{ord(mark)};" for mark in "\\`*_[]<>#|~$&@"}
"""A character written as an entity is never markup: neither of a table, nor of HTML, nor of GitHub's mathematics."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Those that turn the direction of what follows among them: it would be the rest of the row."""


def markdown(report: Published) -> str:
    """The verdict, a table of the variants, why one did not pass, and behind a fold what ran and which class lost."""
    title = f"{SIGNS[report.verdict]} {report.verdict}: {_name(Path(report.bundle).name)} on {_name(report.device)}"
    variants = sorted(report.variants, key=lambda variant: ORDER.index(variant.verdict))
    parts = [
        f"### {title}",
        f"`edgetl {command_of(report)}`: {_counted(report)}.{_against(report)}",
        _variants(variants),
        _reasons(variants),
        _fold("Classes that lost most", _classes(variants)),
        _fold("Memory, throughput and cold start", _resources(variants)),
        _fold("What ran", _facts(report, variants)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_markdown(path: Path, report: Published) -> None:
    """Writes `markdown` whole or not at all."""
    write_bytes(path, markdown(report).encode())


def escaped(text: str, most: int = MAX_TEXT) -> str:
    """`text` on one line, cut to `most` characters, no part of which is markup."""
    line = " ".join(CONTROL.sub(" ", text[: 4 * most]).split())
    short = len(line) <= most and len(text) <= 4 * most
    return (line if short else line[: most - 1] + "…").translate(SPECIAL)


def _name(name: str) -> str:
    """As code, in which GitHub sees neither mentions nor links."""
    return f"<code>{escaped(name, MAX_TEXT // 4)}</code>" if name.strip() else ""


def _prose(text: str) -> str:
    """`text` with what stands between backticks as code."""
    parts = escaped(text).split(SPECIAL[ord("`")])
    if len(parts) % 2 == 0:  # a name has a backtick, or the cut fell between two
        return SPECIAL[ord("`")].join(parts)
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _counted(report: Published) -> str:
    """How many variants have which verdict."""
    found = [variant.verdict for variant in report.variants]
    counts = [f"{found.count(verdict)} {verdict}" for verdict in ORDER if verdict in found]
    return ", ".join(counts) if counts else "no variant was judged"


def _against(report: Published) -> str:
    if not isinstance(report, GateReport) or report.baseline is None:
        return ""
    return f" Compared with {_name(report.baseline)}."


def _variants(variants: Sequence[VariantReport]) -> str:
    names = sorted({each.metric.name for each in variants if each.metric})
    metric = TITLES.get(names[0], _name(names[0])) if len(names) == 1 else "metric"
    return _table(
        ("variant", "verdict", metric, "drop, points (bounds)", "p50 ms (bounds)", "p99 ms (bounds)", "MB"),
        "llrrrrr",
        variants,
        lambda each: (
            _name(each.id),
            f"{SIGNS[each.verdict]} {each.verdict}",
            f"{each.metric.value:.1%}" if each.metric else "–",
            _drop(each.drop_points) if each.drop_points else "–",
            _latency(each.latency_ms, "p50"),
            _latency(each.latency_ms, "p99"),
            _number(each.size_bytes / 1e6 or None, "{:.1f}"),
        ),
    )


def _reasons(variants: Sequence[VariantReport]) -> str:
    """Every reason that is no pass, failed ones first, and what a pass has to tell, as a damaged class."""
    told = [(each, reason) for each in variants for reason in each.reasons if reason.verdict != "pass" or reason.cause]
    told.sort(key=lambda pair: ORDER.index(pair[1].verdict))
    lines = [
        f"- {SIGNS[reason.verdict]} **{_name(each.id)}** {reason.layer}: {_words(reason)}"
        for each, reason in told[:MAX_ROWS]
    ]
    return "\n".join([*lines, *_more(len(told), "reasons")])


def _words(reason: Reason) -> str:
    return _prose(reason.text) + (f" – cause: {_prose(reason.cause)}" if reason.cause else "")


def _classes(variants: Sequence[VariantReport]) -> str:
    """Classes that lost points, damaged ones first, then by their loss."""
    lost = [(each, part) for each in variants for part in each.classes if part.damaged or part.drop_points.value > 0]
    lost.sort(key=lambda pair: (not pair[1].damaged, -pair[1].drop_points.value))
    header = ("variant", "class", "samples", "torch", "variant's", "drop, points (bounds)")
    return _table(header, "llrrrr", lost, lambda pair: (_name(pair[0].id), *_class_cells(pair[1])))


def _class_cells(part: ClassReport) -> tuple[str, ...]:
    name = f"**{_name(part.name)}** (damaged)" if part.damaged else _name(part.name)
    return name, str(part.samples), f"{part.reference:.1%}", f"{part.value:.1%}", _drop(part.drop_points)


def _resources(variants: Sequence[VariantReport]) -> str:
    header = ("variant", "samples/s", "cold start ms", "memory MB")
    known = [(each.id, each.resources) for each in variants if each.resources]
    return _table(header, "lrrr", known, lambda pair: (_name(pair[0]), *_resource_cells(pair[1])))


def _resource_cells(measured: Resources) -> tuple[str, ...]:
    return (
        _number(measured.per_second, "{:.1f}"),
        _number(measured.cold_start_ms, "{:.0f}"),
        _number(measured.rss_mb, "{:.0f}"),
    )


def _facts(report: Published, variants: Sequence[VariantReport]) -> str:
    header = ("variant", "engine", "provider", "compute layers", "threads")
    known = [(each.id, each.facts) for each in variants if each.facts]
    table = _table(header, "llllr", known, lambda pair: (_name(pair[0]), *_fact_cells(pair[1])))
    if report.machine is None:
        return table
    machine = f"On {_name(report.machine.cpu or report.machine.arch)}, {report.machine.cores} cores."
    return f"{machine}\n\n{table}" if table else machine


def _fact_cells(facts: EngineFacts) -> tuple[str, ...]:
    layers = ", ".join(f"{count} {kind}" for kind, count in facts.layers.items()) or facts.precision
    return escaped(f"{facts.engine} {facts.version}"), escaped(facts.provider), escaped(layers), str(facts.threads)


def _drop(drop: Interval) -> str:
    return f"{drop.value:+.2f} ({drop.low:.2f} … {drop.high:.2f})"


def _latency(latency: Latency | None, name: str) -> str:
    if latency is None or getattr(latency, name) is None:
        return "–"
    low, high = getattr(latency, f"{name}_low"), getattr(latency, f"{name}_high")
    bounds = f" ({_number(low)} … {_number(high)})" if low is not None or high is not None else ""
    return f"{getattr(latency, name):.2f}{bounds}"


def _number(value: float | None, form: str = "{:.2f}") -> str:
    return "–" if value is None else form.format(value)


def _table(header: Sequence[str], alignment: str, items: Sequence[T], cells: Callable[[T], Sequence[str]]) -> str:
    """`cells` of the first items; `alignment`: l or r for every column. Empty without items."""
    if not items:
        return ""
    marks = {"l": ":--", "r": "--:"}
    rows = [header, [marks[side] for side in alignment], *map(cells, items[:MAX_ROWS])]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([table, *_more(len(items), "rows")])


def _more(count: int, what: str) -> Iterator[str]:
    if count > MAX_ROWS:
        yield f"and {count - MAX_ROWS} more {what}; the JSON report has them all"


def _fold(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>" if content else ""
