"""A fleet's reports: a suite and a section for each device; one that was not judged is an error, not silence."""

import io
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from tests.devices.publish.reports import NASTY, checked, full, skipped
from tests.devices.publish.test_junit import WHEN

from edgetl.devices.fleet.summary import DeviceError, DeviceReport, FleetReport, judged, summary
from edgetl.devices.publish.fleet import fleet_junit, fleet_markdown
from edgetl.devices.verdict import Report

OFF = DeviceError(message="`ssh://pi-3` cannot be\nreached <b>", hint="is it on?", exit_code=3)


def fleet(*reports: Report) -> FleetReport:
    devices = [judged(f"pi-{i}", f"ssh://pi-{i}", 1.0, report) for i, report in enumerate(reports)]
    off = DeviceReport(name="pi-off", address="ssh://pi-3", status="error", seconds=0.1, error=OFF)
    return summary("bundles/x", [*devices, off])


def test_every_device_is_a_suite_and_one_that_was_not_judged_an_error() -> None:
    document = ET.fromstring(
        fleet_junit(fleet(checked(full()), checked(full()), checked(skipped(), verdict="skipped")))
    )
    suites = {suite.attrib["name"]: suite for suite in document}
    assert list(suites) == ["x on pi-0", "x on pi-1", "x on pi-2", "x on pi-off"]
    assert [suite.attrib["errors"] for suite in suites.values()] == ["0", "0", "1", "1"]
    error = suites["x on pi-off"].find("testcase/error")
    assert error is not None and error.attrib["message"] == "`ssh://pi-3` cannot be reached <b>"


@pytest.mark.parametrize("strict", [False, True])
def test_the_published_rules_hold(strict: bool) -> None:
    xmlschema = pytest.importorskip("xmlschema", reason="the XSD validator is not installed")
    rules: Any = xmlschema.XMLSchema(str(Path(__file__).parent / "junit.xsd"))
    rules.validate(io.BytesIO(fleet_junit(fleet(checked(full(NASTY))), strict=strict, when=WHEN, seconds=12.5)))


def test_markdown_says_what_each_device_came_to() -> None:
    text = fleet_markdown(fleet(checked(full())))
    assert text.startswith("## ") and "x on 2 devices" in text.splitlines()[0]
    assert "error: pi-off" in text and "hint: is it on?" in text and "<b>" not in text
