"""The page of a verdict: what was decided and why, what was measured, how it went before, what was not judged."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from edgetl.devices.baseline import GateReport
from edgetl.devices.measurements import Record
from edgetl.devices.profile import Profile
from edgetl.devices.publish.reading import Published, command_of
from edgetl.export.verdict_page.classes import class_sections
from edgetl.export.verdict_page.facts import facts_sections, unjudged_section
from edgetl.export.verdict_page.history import history_section
from edgetl.export.verdict_page.latency import latency_section
from edgetl.export.verdict_page.reasons import reasons_sections
from edgetl.export.verdict_page.resources import resources_section
from edgetl.export.verdict_page.variants import ORDER, drop_section, variants_section
from edgetl.finetune.report import page


def write_page(
    report: Published,
    history: Sequence[Record],
    path: Path,
    *,
    profile: Profile | None = None,
    device: str | None = None,
) -> None:
    """Writes the page, whole or not at all; it loads nothing from anywhere.

    `history`: the bundle's measurements, of which those on the same machine with the same profile are drawn.
    `profile`: what the report was judged by, for the bounds in the plots; without it they have none.
    `device`: what `--device` was, for the command that does it again; a profile's name does not find one given by path.
    """
    found = [
        variants_section(report),
        *reasons_sections(report),
        drop_section(report, profile),
        latency_section(report, profile),
        resources_section(report, profile),
        *class_sections(report, profile),
        history_section(report, history, profile),
        *facts_sections(report),
        unjudged_section(report),
    ]
    title = f"{Path(report.bundle).name} on {report.device}: {report.verdict}"
    page.write_page(
        path, title, _summary(report), [each for each in found if each is not None], _command(report, device)
    )


def _summary(report: Published) -> str:
    """How many variants have which verdict, on what, against what."""
    verdicts = [variant.verdict for variant in report.variants]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in ORDER if verdict in verdicts]
    text = f"edgetl {command_of(report)}: {', '.join(counts) or 'no variant was judged'}"
    if report.machine:
        text += f", on {report.machine.cpu or report.machine.arch} ({report.machine.cores} cores)"
    if isinstance(report, GateReport) and report.baseline is not None:
        text += f", compared with {report.baseline}"
    return text + "."


def _command(report: Published, device: str | None) -> str:
    words = ["edgetl", command_of(report), report.bundle]
    words += ["--device", device or report.device] if report.device != "host" else []
    if isinstance(report, GateReport) and report.baseline is not None:
        words += ["--baseline", report.baseline]
    return shlex.join(words)
