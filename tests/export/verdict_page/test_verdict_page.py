"""The page of a verdict has what the report has, in one harmless file, however much or little that is."""

import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.conftest import Cli
from tests.devices.publish.reports import MACHINE, NASTY, checked, full, gated, part, skipped

from edgetl.bundle import open_bundle
from edgetl.devices import measurements
from edgetl.devices.catalogue import host_profile
from edgetl.devices.measurements import Record
from edgetl.devices.profile import Accuracy, LatencyBudget, Profile
from edgetl.devices.publish import Published, read_report
from edgetl.devices.verdict import Interval, Reason, VariantReport
from edgetl.export.verdict_page import write_page
from edgetl.export.verdict_page.history import read_points
from edgetl.machine import Machine

START = datetime(2026, 5, 4, 1, 30, tzinfo=timezone.utc)

STRICT = Profile(
    name="host", title="t", accuracy=Accuracy(max_drop_points=1.5, max_class_drop_points=7.5),
    latency=LatencyBudget(p50_ms=2.25, p99_ms=4.5, rss_mb=200),
)  # fmt: skip


def record(number: int, report: object, command: str = "check", machine: Machine = MACHINE) -> Record:
    """A measurement `number` hours after the start, as measurements.json keeps it."""
    when = (START + timedelta(hours=number)).isoformat(timespec="seconds")
    return Record(command=command, when=when, machine=machine, result=msgspec.to_builtins(report))


def bench(p50: float) -> dict[str, Any]:
    single = {"p50_ms": p50, "p90_ms": None, "p99_ms": None, "samples": 50, "bounds_ms": {"p50": [p50 - 1, p50 + 1]}}
    facts = msgspec.to_builtins(full().facts)
    variant = {"id": "openvino-int8", "scenarios": {"single-stream": single}, "facts": facts}
    return {"bundle": "b", "device": "host", "variants": [variant]}


def page(folder: Path, report: Published, history: list[Record] | None = None, profile: Profile | None = None) -> str:
    write_page(report, history or [], folder / "v.html", profile=profile)
    return (folder / "v.html").read_text()


def titles(text: str) -> list[str]:
    return [unescape(title) for title in re.findall(r"<h2>(.*?)</h2>", text)]


def section(text: str, title: str) -> str:
    return unescape(text[text.index(f"<h2>{title}</h2>") :].split("</section>")[0])


def rows(text: str) -> list[list[str]]:
    found = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    return [re.findall(r"<td>(.*?)</td>", row) for row in found if "<td>" in row]


def test_a_full_report_has_every_section(tmp_path: Path) -> None:
    report = gated(full(), skipped())
    text = page(tmp_path, report, [record(0, report), record(1, report, "gate")], STRICT)
    assert titles(text) == [
        "Verdict", "What did not pass", "Every layer's answer", "Accuracy drop", "Latency", "Resources",
        "Classes: openvino-int8", "History", "What ran", "Machine", "What was not judged", "How to reproduce",
    ]  # fmt: skip
    assert "<h1>bundle on host: fail</h1>" in text and "1 fail, 1 skipped, on A processor (4 cores)" in text
    assert "edgetl gate out/bundle --baseline out/before" in text
    assert text.count("<svg") == 4 == text.count('<figure role="img" aria-label="') and 'aria-label=""' not in text


@pytest.mark.parametrize("variants", [(), (skipped(),), (VariantReport(id="v", verdict="skipped"),)])
def test_nothing_judged_still_is_a_page(tmp_path: Path, variants: tuple[VariantReport, ...]) -> None:
    text = page(tmp_path, checked(*variants, verdict="skipped"))
    assert "<h1>bundle on host: skipped</h1>" in text and "<svg" not in text
    assert ("everything" in text) == bool(variants)


def test_nothing_is_executed_loaded_or_left_unescaped(tmp_path: Path) -> None:
    report = gated(full(NASTY), verdict="fail")
    history = [record(0, report, machine=msgspec.structs.replace(MACHINE)), record(1, report)]
    text = page(tmp_path, msgspec.structs.replace(report, device=f"d{NASTY}"), history, STRICT)
    assert "<script" not in text and "@import" not in text and "url(http" not in text and "\x00" not in text
    assert all(link.startswith("#") for link in re.findall(r'(?:src|href)="([^"]*)"', text))
    assert "&lt;script&gt;alert(1)" in text
    assert "default-src 'none'" in text


def test_plots_keep_their_looks_where_inline_styles_are_forbidden(tmp_path: Path) -> None:
    plots = "".join(re.findall(r"<svg.*?</svg>", page(tmp_path, checked(full())), re.DOTALL))
    assert set(re.findall(r' style="([^:"]*)', plots)) == {"min-width"}
    assert 'fill="none"' in plots and 'font-size="' in plots
    ids = re.findall(r' id="([^"]*)"', plots)
    assert len(ids) == len(set(ids)) and set(re.findall(r'(?:href="|url\()#([^")]*)', plots)) <= set(ids)


def test_the_drop_stands_against_the_bound_of_the_profile(tmp_path: Path) -> None:
    told = section(page(tmp_path, checked(full()), profile=STRICT), "Accuracy drop")
    assert "allowed 1.5</text>" in told
    assert rows(told) == [["openvino-int8", "fail", "300", "+0.50", "-0.75", "1.75"]]
    assert "allowed" not in section(page(tmp_path, checked(full())), "Accuracy drop")


def test_a_ruined_variant_does_not_flatten_the_plot(tmp_path: Path) -> None:
    ruined = msgspec.structs.replace(full("ruined"), drop_points=Interval(value=70, low=60, high=80))
    told = section(page(tmp_path, checked(full("good", "pass"), ruined), profile=STRICT), "Accuracy drop")
    assert "fail: +70.0 points →" in told and ["ruined", "fail", "300", "+70.00", "60.00", "80.00"] in rows(told)


def test_latencies_are_drawn_with_the_baseline_and_the_budget(tmp_path: Path) -> None:
    told = section(page(tmp_path, checked(full()), profile=STRICT), "Latency")
    assert "p50 ≤ 2.25" in told and "p99 ≤ 4.5" in told and "Dashed: the baseline" in told
    found = [row[0:2] + row[3:] for row in rows(told)]
    assert found[0] == ["openvino-int8", "1.30 (1.20\u00a0…\u00a01.50)", "1.00", "3.00"]
    assert found[1][0] == "openvino-int8, baseline"


def test_a_query_of_several_samples_is_told(tmp_path: Path) -> None:
    batch = Profile(name="host", title="t", latency=LatencyBudget(p50_ms=9, scenario="multi-stream", batch=8))
    assert "A query has 8 samples." in section(page(tmp_path, checked(full()), profile=batch), "Latency")
    assert "A query has" not in section(page(tmp_path, checked(full()), profile=STRICT), "Latency")


def test_the_command_names_the_profile_as_it_was_named(tmp_path: Path) -> None:
    report = msgspec.structs.replace(checked(full()), device="mine")
    write_page(report, [], tmp_path / "v.html", device="boards/mine.toml")
    assert "edgetl check out/bundle --device boards/mine.toml" in (tmp_path / "v.html").read_text()
    assert "edgetl check out/bundle --device mine<" in page(tmp_path, report)


def test_without_single_times_there_is_a_table_only(tmp_path: Path) -> None:
    latency = msgspec.structs.replace(full().latency_ms, quantiles=())  # type: ignore[type-var]
    told = section(page(tmp_path, checked(msgspec.structs.replace(full(), latency_ms=latency))), "Latency")
    assert "<svg" not in told and "keeps no distribution" in told and rows(told)[0][0] == "openvino-int8"


def test_times_that_no_logarithm_has_are_not_drawn(tmp_path: Path) -> None:
    latency = msgspec.structs.replace(full().latency_ms, quantiles=(0.0,) * 15)  # type: ignore[type-var]
    told = section(page(tmp_path, checked(msgspec.structs.replace(full(), latency_ms=latency))), "Latency")
    assert "<svg" not in told and rows(told)[0][0] == "openvino-int8"


def test_the_worst_classes_are_drawn_and_all_are_listed(tmp_path: Path) -> None:
    classes = tuple(part(f"class {i}", float(i % 40 - 5), damaged=i == 3) for i in range(60))
    variant = msgspec.structs.replace(full(), classes=classes)
    told = section(page(tmp_path, checked(variant, full("other", "pass")), profile=STRICT), "Classes: openvino-int8")
    assert len(rows(told)) == 60 and "All 60 classes and groups" in told
    assert rows(told)[0][0] == "class 3" and rows(told)[0][-1] == "yes"  # damaged, although others lost more
    assert "The plot has the 20 worst" in told and told.count(">of 50</text>") == 20 and "allowed 7.5" in told


def test_a_variant_without_lost_classes_is_named(tmp_path: Path) -> None:
    good = msgspec.structs.replace(full("good", "pass"), classes=(part("ants", 0.0), part("bees", -1.0)))
    told = section(page(tmp_path, checked(good)), "Classes")
    assert "No class lost accuracy in good." in told and "<svg" not in told


def test_history_is_of_the_same_machine_and_profile_only(tmp_path: Path) -> None:
    report = checked(full())
    elsewhere = msgspec.structs.replace(MACHINE, cpu="another")
    records = [
        record(0, report), record(1, gated(full()), "gate"), record(2, bench(5.0), "bench"),
        record(3, report, machine=elsewhere), record(4, msgspec.structs.replace(report, device="pi")),
        record(5, {"plan": 1}, "tune"),
    ]  # fmt: skip
    told = section(page(tmp_path, report, records, STRICT), "History")
    assert [row[:3] for row in rows(told)] == [
        ["2026-05-04 03:30:00", "bench", "openvino-int8"],
        ["2026-05-04 02:30:00", "gate", "openvino-int8"],
        ["2026-05-04 01:30:00", "check", "openvino-int8"],
    ]
    assert rows(told)[0][3:] == ["–", "5.00 (4.00\u00a0…\u00a06.00)"]
    assert "3 runs of this bundle" in told and "<svg" in told and "≤ 2.25" in told
    assert "drop from +0.50 to +0.50 points, p50 from 1.30 to 5.00 ms" in told


def test_one_run_is_no_curve(tmp_path: Path) -> None:
    told = section(page(tmp_path, checked(full()), [record(0, checked(full()))]), "History")
    assert "1 run of this bundle" in told and "<svg" not in told


def test_a_record_that_cannot_be_read_is_counted_not_hidden() -> None:
    damaged = msgspec.structs.replace(record(1, checked(full())), when="yesterday")
    points, unread = read_points([record(0, {"variants": 7}), damaged, record(2, checked(full()))], "host", MACHINE)
    assert unread == 2 and [point.when for point in points] == [START + timedelta(hours=2)]


def test_what_was_not_asked_is_said(tmp_path: Path) -> None:
    reason = Reason(layer="engine", verdict="fail", text="does not open")
    told = section(page(tmp_path, checked(full(), VariantReport(id="broken", verdict="fail", reasons=(reason,)))),
                   "What was not judged")  # fmt: skip
    found = {row[0]: row[1] for row in rows(told)}
    assert found["logits against torch's"] == "broken" and found["comparison with a baseline"] == "all 2"
    assert ["everything", "tensorrt-fp16", "`tensorrt` is not installed"] in rows(
        section(page(tmp_path, checked(full(), skipped())), "What was not judged")
    )


@pytest.mark.slow
def test_a_thousand_variants_and_classes_stay_a_page(tmp_path: Path) -> None:
    classes = tuple(part(f"class {i}", 5.0) for i in range(1000))
    report = checked(*(msgspec.structs.replace(full(f"v{i}"), classes=classes) for i in range(1000)))
    text = page(tmp_path, report, [record(0, report), record(1, report)], STRICT)
    assert len(text) < 8 * 2**20 and text.count("<svg") < 20
    assert "The plot has 40 of 1000 variants." in text and "Here are 8 of the 1000 variants" in text


def test_an_old_page_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / "v.html").write_text("old")
    page(tmp_path, checked(full()))
    assert [path.name for path in tmp_path.iterdir()] == ["v.html"] and (tmp_path / "v.html").read_text() != "old"


def test_a_real_check_with_its_history(own_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    (own_bundle / "measurements.json").unlink(missing_ok=True)
    for _ in range(2):
        (tmp_path / "r.json").write_text(cli("check", own_bundle, "--json").stdout)
    report = read_report(tmp_path / "r.json")
    records = measurements.read(open_bundle(own_bundle)).records
    write_page(report, records, tmp_path / "v.html", profile=host_profile())
    text = (tmp_path / "v.html").read_text()
    assert len(rows(section(text, "History"))) == 2 * len(report.variants) == 8
    assert "allowed 1</text>" in section(text, "Accuracy drop")
    assert {row[0] for row in rows(section(text, "Verdict"))} == {variant.id for variant in report.variants}


def test_the_page_needs_neither_torch_nor_onnx() -> None:
    program = (
        "import sys, edgetl.export.verdict_page; "
        "heavy = {'torch', 'torchvision', 'onnx', 'nncf', 'sklearn', 'scipy', 'onnxruntime', 'openvino'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
