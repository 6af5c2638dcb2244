"""A report of `check` or `gate` in the forms that other programs show: JUnit XML, GitHub's Markdown."""

from edgetl.devices.publish.junit import junit_xml, write_junit
from edgetl.devices.publish.markdown import markdown, write_markdown
from edgetl.devices.publish.reading import Published, read_report

__all__ = ["Published", "junit_xml", "markdown", "read_report", "write_junit", "write_markdown"]
