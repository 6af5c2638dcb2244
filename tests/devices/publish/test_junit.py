"""JUnit XML: what CI shows as failed is what the verdict failed, and every reader can read it."""

import io
import xml.etree.ElementTree as ET
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Cli
from tests.devices.publish.reports import NASTY, checked, full, gated, skipped

from edgetl.devices.publish import Published, junit_xml, read_report, write_junit
from edgetl.devices.verdict import Reason, Report, VariantReport
from edgetl.types import Verdict

WHEN = datetime(2026, 5, 4, 1, 30, 0, 999, tzinfo=timezone(timedelta(hours=2)))


@pytest.fixture(scope="module")
def schema() -> Any:
    """The rules that both published schemas share; see the file."""
    xmlschema = pytest.importorskip("xmlschema", reason="the XSD validator is not installed")
    return xmlschema.XMLSchema(str(Path(__file__).parent / "junit.xsd"))


def parsed(report: Published, *, strict: bool = False) -> ET.Element:
    suite = ET.fromstring(junit_xml(report, strict=strict)).find("testsuite")
    assert suite is not None
    return suite


def outcomes(suite: ET.Element) -> dict[str, str]:
    """The element inside each test case by the case's name; "" for a pass."""
    return {case.attrib["name"]: "".join(child.tag for child in case) for case in suite.iter("testcase")}


def test_a_case_for_each_variant_and_layer() -> None:
    suite = parsed(checked(full(), skipped()))
    assert outcomes(suite) == {
        "openvino-int8 input": "", "openvino-int8 numerics": "failure", "openvino-int8 task": "skipped",
        "tensorrt-fp16 engine": "skipped",
    }  # fmt: skip
    assert {case.attrib["classname"] for case in suite.iter("testcase")} == {"edgetl.check.host"}
    assert [suite.attrib[key] for key in ("tests", "failures", "errors", "skipped")] == ["4", "1", "0", "2"]


def test_strict_makes_undecided_a_failure_but_not_skipped() -> None:
    suite = parsed(checked(full(), skipped()), strict=True)
    assert outcomes(suite)["openvino-int8 task"] == "failure" and suite.attrib["failures"] == "2"
    assert outcomes(suite)["tensorrt-fp16 engine"] == "skipped"


def test_each_report_of_a_fleet_is_a_suite() -> None:
    other = Report(bundle="out/bundle", device="pi", verdict="pass", variants=(full("v", "pass"),))
    suites = list(ET.fromstring(junit_xml(checked(full()), other)))
    assert [suite.attrib["name"] for suite in suites] == ["bundle on host", "bundle on pi"]
    assert [suite.attrib["id"] for suite in suites] == ["0", "1"]


def test_the_message_says_what_decided_and_the_text_says_all() -> None:
    failure = parsed(checked(full())).find(".//failure")
    assert failure is not None and failure.text is not None
    assert failure.attrib["type"] == "fail"
    assert failure.attrib["message"].startswith("fail: logits differ for `<script>alert(1)</script> | `x` $y$")
    assert failure.attrib["message"].endswith("– a red and blue swap")
    assert failure.text.splitlines()[1] == "pass: 300 samples within tolerance"


def test_figures_are_properties() -> None:
    suite = parsed(gated(full()))
    found = {each.attrib["name"]: each.attrib["value"] for each in suite.iter("property")}
    assert found["openvino-int8 drop_points high"] == "1.75" and found["openvino-int8 latency_ms p50"] == "1.3"
    assert found["openvino-int8 facts layers int8"] == "50" and found["openvino-int8 size_bytes"] == "2600000"
    assert found["baseline"] == "out/before" and found["machine"] == "A processor, 4 cores"
    assert "openvino-int8 latency_ms p99_high" not in found and not any("reasons" in name for name in found)


def test_times_are_those_of_the_run_or_nought() -> None:
    suite = ET.fromstring(junit_xml(checked(full()), when=WHEN, seconds=12.3456)).find("testsuite")
    assert suite is not None
    assert suite.attrib["timestamp"] == "2026-05-03T23:30:00" and suite.attrib["time"] == "12.346"
    unknown = parsed(checked(full()))
    assert "timestamp" not in unknown.attrib and unknown.attrib["time"] == "0.000"


def test_nothing_judged_still_is_a_suite_with_a_skipped_case() -> None:
    assert outcomes(parsed(checked(verdict="skipped"))) == {"verdict": "skipped"}
    bare = VariantReport(id="v", verdict="skipped")
    assert outcomes(parsed(checked(bare, verdict="skipped"))) == {"v verdict": "skipped"}


def test_a_verdict_worse_than_its_reasons_is_not_lost() -> None:
    reason = Reason(layer="input", verdict="pass", text="fine")
    suite = parsed(checked(VariantReport(id="v", verdict="fail", reasons=(reason,))))
    assert outcomes(suite) == {"v input": "", "v verdict": "failure"}


def test_names_that_xml_cannot_say_lose_only_that() -> None:
    report = Report(bundle=f"b/{NASTY}", device="a\n\td\x0b", verdict="fail", variants=(full(f"v{NASTY}"),))
    suite = parsed(report)
    assert suite.attrib["name"].endswith("on a d") and "\x1b" not in suite.attrib["name"]
    first = next(suite.iter("testcase")).attrib["name"]
    assert first == "v<script>alert(1)</script> | `x` $y$ [z](javascript:1) @all *b* input"


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    "report",
    [checked(full(), skipped()), gated(full(NASTY)), checked(verdict="skipped")],
    ids=["check", "gate", "empty"],
)
def test_the_published_rules_hold(schema: Any, report: Published, strict: bool) -> None:
    schema.validate(io.BytesIO(junit_xml(report, report, strict=strict)))
    schema.validate(io.BytesIO(junit_xml(report, strict=strict, when=WHEN, seconds=3661.5)))


def test_the_rules_refuse_what_a_reader_would(schema: Any) -> None:
    good = junit_xml(checked(full()))
    for wrong in (good.replace(b' time="0"', b"", 1), good.replace(b'failures="1"', b'failures="one"'),
                  good.replace(b' type="fail"', b""), good.replace(b"<properties>", b"<properties><x />")):  # fmt: skip
        assert wrong != good and not schema.is_valid(io.BytesIO(wrong))


VERDICTS: st.SearchStrategy[Verdict] = st.sampled_from(("pass", "fail", "undecided", "skipped"))
REASONS = st.builds(Reason, layer=st.sampled_from(("input", "task")), verdict=VERDICTS, text=st.text(max_size=20))
VARIANTS = st.builds(
    VariantReport, id=st.text(max_size=9), verdict=VERDICTS, reasons=st.lists(REASONS, max_size=3).map(tuple)
)
REPORTS = st.builds(
    Report, bundle=st.text(max_size=9), device=st.text(max_size=9), verdict=VERDICTS,
    variants=st.lists(VARIANTS, max_size=3).map(tuple),
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REPORTS)
def test_whatever_the_names_it_is_xml_and_red_exactly_when_something_failed(report: Report) -> None:
    suite = parsed(report)
    said = [
        report.verdict,
        *(v.verdict for v in report.variants),
        *(r.verdict for v in report.variants for r in v.reasons),
    ]
    assert (int(suite.attrib["failures"]) > 0) == ("fail" in said)
    assert int(suite.attrib["tests"]) == len(list(suite.iter("testcase"))) > 0


def test_a_real_check_brought_home_as_json(schema: Any, bundle: Path, tmp_path: Path, cli: Cli) -> None:
    printed = cli("check", bundle, "--json")
    (tmp_path / "r.json").write_text(printed.stdout)
    report = read_report(tmp_path / "r.json")
    write_junit(tmp_path / "r.xml", report)
    schema.validate(str(tmp_path / "r.xml"))
    named = outcomes(parsed(report))
    assert all(f"{variant.id} numerics" in named for variant in report.variants) and len(report.variants) == 4
    assert ("failure" in named.values()) == (report.verdict == "fail")
