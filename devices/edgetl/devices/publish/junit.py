"""A report as JUnit XML, which GitLab, Jenkins and the test reporters of GitHub show.

Reference: the two published schemas, Windy Road's JUnit.xsd (Apache Ant) and junit-10.xsd of Jenkins' xunit-plugin.
Both accept what is written here; only that Ant's wants the time of the run, which a report alone does not have.
"""

import re
import xml.etree.ElementTree as ET  # writes only
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from edgetl.devices.baseline import GateReport
from edgetl.devices.publish.reading import Published, command_of
from edgetl.devices.verdict import Reason, VariantReport, worst
from edgetl.files import write_bytes
from edgetl.types import Verdict

ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot say, not even escaped."""

UNMEASURED = msgspec.to_builtins(VariantReport(id="", verdict="skipped"))


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One question: its verdict and what was found, a line each."""

    name: str
    verdict: Verdict
    lines: Sequence[str] = ()


def junit_xml(
    *reports: Published, strict: bool = False, when: datetime | None = None, seconds: float | None = None
) -> bytes:
    """A suite for each report, that is a bundle on a device, with a test case for each variant and layer judged.

    A failed layer is a failure; a skipped and an undecided one are skipped, but undecided is a failure with `strict`.
    The figures are properties of the suite, `VARIANT FIGURE`. `when` and `seconds`: start (with its zone) and length
    of the run, if known. No layer is timed by itself, so the time of a case is 0: readers do not take a missing one.
    """
    root = ET.Element("testsuites")
    for number, report in enumerate(reports):
        suite = _suite(report, strict=strict)
        suite.set("id", str(number))
        suite.set("time", f"{seconds or 0:.3f}")
        if when:
            suite.set("timestamp", f"{when.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S}")
        root.append(suite)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def write_junit(
    path: Path, *reports: Published, strict: bool = False, when: datetime | None = None, seconds: float | None = None
) -> None:
    """Writes `junit_xml` whole or not at all."""
    write_bytes(path, junit_xml(*reports, strict=strict, when=when, seconds=seconds))


def _suite(report: Published, *, strict: bool) -> ET.Element:
    cases = list(_cases(report))
    outcomes = [_outcome(case.verdict, strict=strict) for case in cases]
    suite = ET.Element(
        "testsuite",
        package=f"edgetl.{command_of(report)}",
        name=_line(f"{Path(report.bundle).name} on {report.device}"),
        hostname="localhost",
        tests=str(len(cases)),
        failures=str(outcomes.count("failure")),
        errors="0",
        skipped=str(outcomes.count("skipped")),
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(report):
        ET.SubElement(properties, "property", name=_line(name), value=_legal(value))
    for case, outcome in zip(cases, outcomes, strict=True):
        place = _line(f"edgetl.{command_of(report)}.{report.device}")
        element = ET.SubElement(suite, "testcase", classname=place, name=_line(case.name), time="0")
        if outcome:
            message = _line(f"{case.verdict}: {case.lines[0]}" if case.lines else case.verdict)
            ET.SubElement(element, outcome, type=case.verdict, message=message).text = _legal("\n".join(case.lines))
    ET.SubElement(suite, "system-out")
    ET.SubElement(suite, "system-err")
    return suite


def _cases(report: Published) -> Iterator[Case]:
    """In the order of the report; one more where a verdict is worse than its reasons, so that none is lost."""
    for variant in report.variants:
        for layer in dict.fromkeys(reason.layer for reason in variant.reasons):
            yield _case(variant, layer)
        if not variant.reasons or worst(reason.verdict for reason in variant.reasons) != variant.verdict:
            yield Case(name=f"{variant.id} verdict", verdict=variant.verdict)
    if not report.variants or worst(variant.verdict for variant in report.variants) != report.verdict:
        yield Case(name="verdict", verdict=report.verdict)


def _case(variant: VariantReport, layer: str) -> Case:
    reasons = [reason for reason in variant.reasons if reason.layer == layer]
    verdict = worst(reason.verdict for reason in reasons)
    told = sorted(reasons, key=lambda reason: reason.verdict != verdict)  # what decided comes first
    return Case(name=f"{variant.id} {layer}", verdict=verdict, lines=[_words(reason, verdict) for reason in told])


def _words(reason: Reason, verdict: Verdict) -> str:
    prefix = "" if reason.verdict == verdict else f"{reason.verdict}: "
    return prefix + reason.text + (f" – {reason.cause}" if reason.cause else "")


def _outcome(verdict: Verdict, *, strict: bool) -> str:
    """The element that says so; none for a pass."""
    if verdict == "fail" or (verdict == "undecided" and strict):
        return "failure"
    return "" if verdict == "pass" else "skipped"


def _properties(report: Published) -> Iterator[tuple[str, str]]:
    yield "verdict", report.verdict
    yield "bundle", report.bundle
    yield "device", report.device
    if report.machine:
        yield "machine", f"{report.machine.cpu or report.machine.arch}, {report.machine.cores} cores"
    if isinstance(report, GateReport) and report.baseline is not None:
        yield "baseline", report.baseline
    for variant in report.variants:
        values = msgspec.to_builtins(variant)
        measured = {key: value for key, value in values.items() if value != UNMEASURED[key]}
        yield f"{variant.id} verdict", variant.verdict
        yield from _flat(variant.id, {key: measured[key] for key in measured if key not in ("id", "verdict")})


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every single value with the path to it; lists, which are no figure, and what was not measured are left out."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix} {key}", value)
        elif isinstance(value, float):
            yield f"{prefix} {key}", f"{value:.6g}"
        elif isinstance(value, int | str):
            yield f"{prefix} {key}", str(value)


def _legal(text: str) -> str:
    return ILLEGAL.sub("", text)


def _line(text: str) -> str:
    """`text` as a token: names are one line."""
    return " ".join(_legal(text).split())
