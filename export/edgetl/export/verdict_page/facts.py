"""What really ran, on which machine, and what was not judged."""

from collections.abc import Callable, Sequence

from edgetl.devices.publish.reading import Published
from edgetl.devices.verdict import Layer, VariantReport
from edgetl.finetune.report.page import Section
from edgetl.machine import Machine
from edgetl.types import EngineFacts

MAX_NAMES = 12
"""Variants named in one cell; the rest is counted."""


def facts_sections(report: Published) -> list[Section]:
    """The engines and the machine, as far as the report knows them."""
    known = [(each.id, each.facts) for each in report.variants if each.facts]
    header = ("variant", "engine", "provider", "asked for", "compute layers", "threads")
    text = "As the engines say themselves."
    found = [Section(title="What ran", text=text, header=header, rows=[_ran(*pair) for pair in known])] if known else []
    return [*found, Section(title="Machine", rows=_machine(report.machine))] if report.machine else found


def unjudged_section(report: Published) -> Section | None:
    """Which questions were not asked of which variants, and why a variant was skipped."""
    skipped = [each for each in report.variants if each.verdict == "skipped"]
    rows = [("everything", each.id, "; ".join(reason.text for reason in each.reasons) or "–") for each in skipped]
    judged = [each for each in report.variants if each.verdict != "skipped"]
    for what, known, note in QUESTIONS:
        missing = [each.id for each in judged if not known(each)]
        if missing:
            rows.append((what, _named(missing, len(judged)), note))
    header = ("question", "variants", "note")
    return Section(title="What was not judged", header=header, rows=rows) if rows else None


def _ran(name: str, facts: EngineFacts) -> tuple[str, ...]:
    layers = ", ".join(f"{count} {kind}" for kind, count in facts.layers.items()) or facts.precision
    return name, f"{facts.engine} {facts.version}", facts.provider, facts.asked or "–", layers, str(facts.threads)


def _machine(machine: Machine) -> list[tuple[str, str]]:
    rows = [
        ("processor", f"{machine.cpu or 'unknown'} ({machine.arch}), {machine.cores} usable cores"),
        ("features", ", ".join(machine.features)),
        ("memory", f"{machine.memory_bytes / 2**30:.1f} GiB" if machine.memory_bytes else ""),
        ("board", machine.board),
        ("GPU", ", ".join(machine.gpus)),
        ("container", machine.container),
        ("system", machine.system),
    ]
    return [(name, value) for name, value in rows if value]


def _named(names: Sequence[str], of: int) -> str:
    if len(names) == of > 1:
        return f"all {of}"
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _answered(layer: Layer) -> Callable[[VariantReport], bool]:
    return lambda report: any(reason.layer == layer for reason in report.reasons)


QUESTIONS: tuple[tuple[str, Callable[[VariantReport], bool], str], ...] = (
    ("preparation of encoded images", _answered("input"), "the bundle carries none, or the variant did not open"),
    ("logits against torch's", _answered("numerics"), "the bundle carries no golden set, or the variant did not open"),
    ("drop of the metric", lambda report: report.drop_points is not None, "there are no labelled samples"),
    ("classes", lambda report: bool(report.classes), "the report has no figures of single classes"),
    ("latency", lambda report: report.latency_ms is not None, "it was not measured"),
    (
        "p99 of the latency",
        lambda report: report.latency_ms is None or report.latency_ms.p99 is not None,
        "too few queries; `gate` and a profile with a budget ask more",
    ),
    ("a latency budget", _answered("latency"), "the profile has none"),
    ("resources", lambda report: report.resources is not None, "the profile has no budget for them"),
    ("comparison with a baseline", _answered("baseline"), "none was given"),
)
"""What can be known of a variant, whether it is, and why it may not be."""
