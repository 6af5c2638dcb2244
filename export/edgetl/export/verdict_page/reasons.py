"""What each layer said of each variant: first what did not pass, then all."""

from edgetl.devices.publish.reading import Published
from edgetl.devices.verdict import Reason
from edgetl.export.verdict_page.variants import ORDER, worst_first
from edgetl.finetune.report.page import Section

HEADER = ("variant", "layer", "verdict", "what was found", "cause")

MAX_LINES = 200
"""Reasons in words, the worst; the table has more."""

MAX_ROWS = 2000
"""Reasons in the table; a browser should still scroll."""


def reasons_sections(report: Published) -> list[Section]:
    """The reasons that are no pass, worst first, and every reason behind a fold."""
    told = [(variant.id, reason) for variant in worst_first(report) for reason in variant.reasons]
    if not told:
        return []
    told.sort(key=lambda pair: ORDER.index(pair[1].verdict))
    bad = [(name, reason) for name, reason in told if reason.verdict != "pass"]
    text = "" if bad else "Every layer that was judged passed."
    if len(bad) > MAX_LINES:
        text = f"The first {MAX_LINES:,} of {len(bad):,}."
    fold = f"All {len(told):,} answers" if len(told) <= MAX_ROWS else f"The first {MAX_ROWS:,} of {len(told):,} answers"
    rows = [(name, r.layer, r.verdict, r.text, r.cause or "–") for name, r in told[:MAX_ROWS]]
    return [
        Section(title="What did not pass", text=text, lines=[_words(name, reason) for name, reason in bad[:MAX_LINES]]),
        Section(title="Every layer's answer", header=HEADER, rows=rows, fold=fold),
    ]


def _words(name: str, reason: Reason) -> str:
    cause = f"; cause: {reason.cause}" if reason.cause else ""
    return f"{reason.verdict} – {name}, {reason.layer}: {reason.text}{cause}"
