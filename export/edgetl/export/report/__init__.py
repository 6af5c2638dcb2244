"""report.html of a bundle."""

from edgetl.export.report.bundle_report import write_report

__all__ = ["write_report"]
