"""A report brought home is read as what it is."""

from pathlib import Path

import pytest
from tests.devices.publish.reports import checked, full, gated

from edgetl.devices.publish import Published, read_report
from edgetl.errors import ArtefactError
from edgetl.files import write_json


@pytest.mark.parametrize("report", [checked(full()), gated(full())], ids=["check", "gate"])
def test_a_report_comes_back_as_it_was_written(report: Published, tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", report)
    assert read_report(tmp_path / "r.json") == report


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "2.0"}', '{"bundle": 1}'])
def test_what_is_no_report_says_so(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ArtefactError, match=r"r\.json"):
        read_report(tmp_path / "r.json")


def test_a_report_of_an_older_release_lacks_the_newer_figures(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(
        '{"bundle": "b", "device": "host", "verdict": "pass", "variants": [{"id": "v", "verdict": "pass",'
        ' "latency_ms": {"p50": 2.0, "p99": null}, "reasons": [{"layer": "input", "verdict": "pass", "text": "t"}]}]}'
    )
    variant = read_report(tmp_path / "r.json").variants[0]
    assert variant.classes == () and variant.resources is None
    assert variant.latency_ms is not None and variant.latency_ms.quantiles == ()
