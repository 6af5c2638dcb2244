"""`--junit`, `--markdown` and `--html`: where a verdict is written for others to read."""

import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Optional

import msgspec
import typer

from edgetl.console import disk_is_full, say
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

    @property
    def empty(self) -> bool:
        """Whether no file was asked for."""
        return not (self.junit or self.markdown or self.html)


def publication(junit: Path | None, markdown: Path | None, html: Path | None, fleet: Path | None) -> Publication:
    """Refuses now what could not be written after the long check. Raises ConfigError and DependencyError."""
    if fleet and html:
        raise ConfigError("`--html` is one device's page", hint="`--junit` and `--markdown` take a fleet's reports")
    asked = {"--junit": junit, "--markdown": markdown, "--html": html}
    named: dict[str, str] = {}
    for option, path in asked.items():
        if path is None:
            continue
        check_place(path)
        other = named.setdefault(os.path.realpath(path), option)
        if other != option:
            raise ConfigError(f"`{other}` and `{option}` name the same file, `{path}`", hint="give each its own")
    if html:
        require("report", "matplotlib", "jinja2")
    started, when = time.monotonic(), datetime.now(timezone.utc)
    return Publication(junit=junit, markdown=markdown, html=html, when=when, started=started)


def publish(asked: Publication, report: Any, bundle: Any, device: str | None, *, strict: bool) -> None:
    """Writes the files asked for. After the measurement was kept, so that the page's history ends with this run.

    Raises ConfigError for one that cannot be written, after it has written the others.
    """
    if asked.empty:
        return
    from edgetl.devices.publish import write_junit, write_markdown

    writers = _writers(asked, report, write_junit, write_markdown, strict=strict)
    if asked.html:
        writers[asked.html] = lambda path: _write_page(path, report, bundle, device)
    _write_all(writers, report.verdict)


def publish_fleet(asked: Publication, fleet: Any, *, strict: bool) -> None:
    """The reports of a fleet's devices in one file each way; a device that was not judged is an error in it.

    Raises ConfigError for a file that cannot be written, after it has written the other.
    """
    if asked.empty:
        return
    from edgetl.devices.publish.fleet import write_fleet_junit, write_fleet_markdown

    _write_all(_writers(asked, fleet, write_fleet_junit, write_fleet_markdown, strict=strict), fleet.verdict)


def _writers(
    asked: Publication, report: Any, junit: Callable[..., None], markdown: Callable[..., None], *, strict: bool
) -> dict[Path, Callable[[Path], None]]:
    """What writes the XML and the Markdown of `report`, by the file that was asked for."""
    writers: dict[Path, Callable[[Path], None]] = {}
    if asked.junit:
        seconds = time.monotonic() - asked.started
        writers[asked.junit] = lambda path: junit(path, report, strict=strict, when=asked.when, seconds=seconds)
    if asked.markdown:
        writers[asked.markdown] = lambda path: markdown(path, report)
    return writers


def _write_all(writers: Mapping[Path, Callable[[Path], None]], verdict: str | None) -> None:
    refused = [problem for path, write in writers.items() if (problem := _written(path, write))]
    if refused:
        raise ConfigError("; ".join(refused), hint=f"the verdict is `{verdict}`; name files that can be written")


def check_place(path: Path) -> None:
    """A file is replaced by a new one: a device such as /dev/null must not be, and a folder cannot."""
    if not os.access(path.parent, os.W_OK | os.X_OK) or not path.parent.is_dir():
        raise ConfigError(f"`{path}` cannot be written", hint="name a file in a folder that exists and is yours")
    if os.access(path, os.F_OK) and not path.is_file():
        raise ConfigError(f"`{path}` is no file", hint="name one; a folder or a device cannot be replaced")


def _written(path: Path, write: Callable[[Path], None]) -> str | None:
    """Writes one file; what kept it from that, in words."""
    try:
        write(path)
    except OSError as error:
        if disk_is_full(error):
            raise
        return f"`{path}` cannot be written: {error.strerror or error}"
    return None


def _write_page(path: Path, report: Any, bundle: Any, device: str | None) -> None:
    from edgetl.devices import measurements

    with heavy_imports():
        from edgetl.export.verdict_page import write_page

    judged_by = profile(device) if device or report.device == "host" else None
    records = measurements.readable(bundle, say).records
    write_page(report, records, path, profile=judged_by, device=device)
