"""A report brought home as JSON: that of `check --json`, of `gate --json` or of `gate -o`."""

from pathlib import Path
from typing import TypeAlias

import msgspec

from edgetl.devices.baseline import GateReport
from edgetl.devices.verdict import Report
from edgetl.files import read_json

Published: TypeAlias = Report | GateReport
"""What can be published."""


def read_report(path: Path) -> Published:
    """The report in the file; only a gate's has a schema. Raises ArtefactError."""
    document = read_json(path, dict[str, msgspec.Raw])
    return read_json(path, GateReport, major=1) if "schema" in document else read_json(path, Report)


def command_of(report: Published) -> str:
    """Which command made it."""
    return "gate" if isinstance(report, GateReport) else "check"
