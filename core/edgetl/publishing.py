"""`--junit`, `--markdown` and `--html`: where a verdict is written for others to read."""

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Optional

import msgspec
import typer

from edgetl.console import say
from edgetl.errors import ConfigError
from edgetl.options import profile
from edgetl.plugins import heavy_imports, require

JUnit = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--junit", metavar="FILE", help="Also write JUnit XML: a test case for each variant and layer."),
]
Markdown = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--markdown", metavar="FILE", help="Also write Markdown, for the summary of a CI job."),
]
Html = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--html", metavar="FILE", help="Also write a page with plots and history; needs `edgetl[report]`."),
]


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """The files asked for, and when the command began."""

    junit: Path | None
    markdown: Path | None
    html: Path | None
    when: datetime
    started: float


def publication(junit: Path | None, markdown: Path | None, html: Path | None, fleet: Path | None) -> Publication:
    """Refuses now what could not be written after the long check. Raises ConfigError and DependencyError."""
    if fleet and (junit or markdown or html):
        raise ConfigError("`--junit`, `--markdown` and `--html` write one report", hint="`--json` has a fleet's")
    for path in filter(None, (junit, markdown, html)):
        if path.is_dir() or not path.parent.is_dir():
            raise ConfigError(f"`{path}` cannot be written", hint="name a file in a folder that exists")
    if html:
        require("report", "matplotlib", "jinja2")
    started, when = time.monotonic(), datetime.now(timezone.utc)
    return Publication(junit=junit, markdown=markdown, html=html, when=when, started=started)


def publish(asked: Publication, report: Any, bundle: Any, device: str | None, *, strict: bool) -> None:
    """Writes the files asked for. After the measurement was kept, so that the page's history ends with this run."""
    if asked.junit:
        from edgetl.devices.publish import write_junit

        seconds = time.monotonic() - asked.started
        write_junit(asked.junit, report, strict=strict, when=asked.when, seconds=seconds)
    if asked.markdown:
        from edgetl.devices.publish import write_markdown

        write_markdown(asked.markdown, report)
    if asked.html:
        from edgetl.devices import measurements

        with heavy_imports():
            from edgetl.export.verdict_page import write_page

        judged_by = profile(device) if device or report.device == "host" else None
        records = measurements.readable(bundle, say).records
        write_page(report, records, asked.html, profile=judged_by)
