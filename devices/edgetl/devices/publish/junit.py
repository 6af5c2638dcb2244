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
    return document([suite(report, strict=strict) for report in reports], when, seconds)


def document(suites: Sequence[ET.Element], when: datetime | None, seconds: float | None) -> bytes:
    """The suites as one XML document, numbered, with the run's start and length."""
    root = ET.Element("testsuites")
    for number, each in enumerate(suites):
        each.set("id", str(number))
        each.set("time", f"{seconds or 0:.3f}")
        if when:
            each.set("timestamp", f"{when.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S}")
        root.append(each)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def write_junit(
    path: Path, *reports: Published, strict: bool = False, when: datetime | None = None, seconds: float | None = None
) -> None:
    """Writes `junit_xml` whole or not at all."""
    write_bytes(path, junit_xml(*reports, strict=strict, when=when, seconds=seconds))


def suite(report: Published, *, strict: bool) -> ET.Element:
    """A report as a suite, with its figures as properties and a case for each variant and layer."""
    cases = list(_cases(report))
    outcomes = [_outcome(case.verdict, strict=strict) for case in cases]
    package, name = f"edgetl.{command_of(report)}", f"{Path(report.bundle).name} on {report.device}"
    failures, skipped = outcomes.count("failure"), outcomes.count("skipped")
    made = empty_suite(package, name, tests=len(cases), failures=failures, skipped=skipped)
    for key, value in _properties(report):
        ET.SubElement(made[0], "property", name=line(key), value=_legal(value))
    for place, (case, outcome) in enumerate(zip(cases, outcomes, strict=True), start=1):
        element = ET.Element("testcase", classname=line(f"{package}.{report.device}"), name=line(case.name), time="0")
        if outcome:
            message = line(f"{case.verdict}: {case.lines[0]}" if case.lines else case.verdict)
            ET.SubElement(element, outcome, type=case.verdict, message=message).text = _legal("\n".join(case.lines))
        made.insert(place, element)
    return made


def empty_suite(
    package: str, name: str, *, tests: int, failures: int = 0, errors: int = 0, skipped: int = 0
) -> ET.Element:
    """A suite that says how many cases it will have, before they are put behind its properties."""
    counts = {"tests": tests, "failures": failures, "errors": errors, "skipped": skipped}
    made = ET.Element("testsuite", package=package, name=line(name), hostname="localhost")
    for key, count in counts.items():
        made.set(key, str(count))
    for part in ("properties", "system-out", "system-err"):
        ET.SubElement(made, part)
    return made


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


def line(text: str) -> str:
    """`text` as a token: names are one line."""
    return " ".join(_legal(text).split())
