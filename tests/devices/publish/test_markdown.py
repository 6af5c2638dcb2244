"""The summary of a CI job: the verdict first, short whatever the report, and no name becomes markup."""

import re
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tests.conftest import Cli
from tests.devices.publish.reports import NASTY, checked, full, gated, part, skipped

from edgetl.devices.publish import Published, markdown, read_report, write_markdown
from edgetl.devices.publish.markdown import escaped
from edgetl.devices.verdict import Reason, Report, VariantReport

GITHUB_LIMIT = 2**20


def html(report: Published) -> str:
    return str(MarkdownIt("commonmark").enable("table").render(markdown(report)))


def cells(text: str) -> list[list[str]]:
    """What a reader sees in every row of every table."""
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    return [
        [unescape(re.sub(r"<[^>]*>", "", cell)) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)] for row in rows
    ]


def test_the_verdict_is_the_first_line() -> None:
    assert markdown(checked(full(), skipped())).splitlines()[0] == (
        "### ❌ fail: <code>bundle</code> on <code>host</code>"
    )
    assert "Compared with <code>out/before</code>." in markdown(gated(full()))


def test_one_row_a_variant_worst_first() -> None:
    found = cells(html(checked(skipped(), full("good", "pass"), full("bad", "fail"))))
    assert [row[:2] for row in found[1:4]] == [["bad", "❌ fail"], ["tensorrt-fp16", "⏭️ skipped"], ["good", "✅ pass"]]
    assert found[1][2:] == ["94.5%", "+0.50 (-0.75 … 1.75)", "1.30 (1.20 … 1.50)", "2.90 (2.00 … –)", "2.6"]
    assert found[2][2:] == ["–"] * 5


def test_every_reason_that_is_no_pass_is_told_with_its_cause() -> None:
    text = markdown(checked(full(), skipped()))
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert [line[:3] for line in lines] == ["- ❌", "- ❔", "- ⏭"]
    assert "cause: a red and blue swap" in lines[0] and "36 encoded images" not in text
    assert "<code>tensorrt</code> is not installed" in lines[2]


def test_details_are_folded_and_left_out_when_there_are_none() -> None:
    text = html(gated(full()))
    assert text.count("<details>") == text.count("</details>") == 3
    rows = cells(text)
    assert ["openvino-int8", "ants (damaged)", "50", "90.0%", "77.5%", "+12.50 (8.50 … 18.50)"] in rows
    assert ["openvino-int8", "412.5", "310", "151"] in rows and not any("bees" in row for row in rows)
    bare = Report(bundle="b", device="d", verdict="fail", variants=(VariantReport(id="v", verdict="fail"),))
    assert "<details>" not in markdown(bare)


def test_names_are_never_markup() -> None:
    nasty = full(NASTY)
    text = html(checked(nasty))
    assert "<script" not in text and "<a " not in text and "<em>" not in text
    assert cells(text)[1][0] == "<script>alert(1)</script> | `x` $y$ [z](javascript:1) @all *b*"
    assert len({len(row) for row in cells(text)[:2]}) == 1


@settings(deadline=None)
@given(st.text())
def test_any_text_in_a_cell_is_read_as_it_is(text: str) -> None:
    shown = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", " ", text).split())[:299]
    page = MarkdownIt("commonmark").enable("table").render(f"| a |\n| - |\n| x{escaped(text)}y |\n")
    if len(shown) < 299:
        assert cells(page)[1:] == [[re.sub(r"\s+", " ", f"x{shown}y")]]


def test_a_name_does_not_turn_the_row_around() -> None:
    assert escaped("a\u202eb\u2066c") == "a b c"


@pytest.mark.parametrize("name", ["label 1", "<" * 5000, "\N{GRINNING FACE}" * 5000])
def test_a_thousand_of_everything_stays_below_the_limit(name: str) -> None:
    reasons = tuple(Reason(layer="task", verdict="fail", text=f"`{name}`" * 9, cause=name) for _ in range(3))
    classes = tuple(part(name, 5.0) for _ in range(100))
    variant = VariantReport(id=name, verdict="fail", reasons=reasons, classes=classes, facts=full().facts)
    text = markdown(checked(*[variant] * 1000))
    assert len(text.encode()) < GITHUB_LIMIT
    assert "and 2900 more reasons" in text and "and 900 more rows" in text


def test_nothing_judged_is_said() -> None:
    text = markdown(checked(verdict="skipped"))
    assert text.startswith("### ⏭️ skipped") and "no variant was judged" in text


def test_a_real_check_brought_home_as_json(bundle: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "r.json").write_text(cli("check", bundle, "--json").stdout)
    report = read_report(tmp_path / "r.json")
    write_markdown(tmp_path / "r.md", report)
    assert (tmp_path / "r.md").read_text() == markdown(report)
    assert {row[0] for row in cells(html(report))} >= {variant.id for variant in report.variants}
