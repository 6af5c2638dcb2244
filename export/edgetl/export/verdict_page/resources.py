"""Throughput, cold start, memory and size, with what the profile allows."""

from collections.abc import Sequence

from edgetl.devices.profile import Profile
from edgetl.devices.publish.reading import Published
from edgetl.devices.verdict import Resources, VariantReport
from edgetl.export.verdict_page.variants import latency_cell, number
from edgetl.finetune.report.page import Section

HEADER = ("variant", "samples/s", "cold start ms", "memory MB", "files MB")


def resources_section(report: Published, profile: Profile | None) -> Section | None:
    """None when none was measured."""
    known = [(each, each.resources) for each in report.variants if each.resources]
    if not known:
        return None
    rows = [_row(each, measured) for each, measured in known]
    return Section(title="Resources", text=_allowed(profile), header=HEADER, rows=rows)


def _row(report: VariantReport, measured: Resources) -> tuple[str, ...]:
    return (
        report.id,
        latency_cell(measured.per_second, measured.per_second_low, measured.per_second_high),
        latency_cell(measured.cold_start_ms, measured.cold_start_low, measured.cold_start_high),
        number(measured.rss_mb, "{:.1f}"),
        number(report.size_bytes / 1e6 or None, "{:.1f}"),
    )


def _allowed(profile: Profile | None) -> str:
    if profile is None:
        return "One-sided bounds in brackets."
    budget = profile.latency
    asked: Sequence[tuple[str, float | None, str]] = (
        ("at least", budget.per_second, "samples/s"),
        ("at most", budget.cold_start_ms, "ms of cold start"),
        ("at most", budget.rss_mb, "MB of memory"),
        ("at most", budget.size_mb, "MB of files"),
    )
    told = [f"{which} {most:g} {unit}" for which, most, unit in asked if most is not None]
    return f"One-sided bounds in brackets. The profile asks for {', '.join(told) or 'nothing of these'}."
