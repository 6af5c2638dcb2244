"""What `check` or `gate` found, as one HTML page."""

from edgetl.export.verdict_page.page import write_page

__all__ = ["write_page"]
