"""A bundle's report has what the bundle has, in one harmless file that is the same every time."""

import re
import shlex
import subprocess
import sys
from html import unescape
from pathlib import Path

import msgspec
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from tests.conftest import Cli

from edgetl.bundle import Bundle, file_records, open_bundle
from edgetl.devices.answers import Answers
from edgetl.devices.verdict import Interval, Latency, Metric, Reason, Report, VariantReport
from edgetl.export.report import write_report
from edgetl.export.report.classes import counted
from edgetl.export.report.content import commands
from edgetl.export.report.judged import Judged
from edgetl.export.report.label_places import Labelled, place_labels
from edgetl.export.report.pareto import Point, front
from edgetl.export.report.quantisation import changes
from edgetl.finetune.report.page import Section, write_page
from edgetl.manifest import (
    Attempt,
    CalibrationPoint,
    GoldenRecord,
    Manifest,
    Quantisation,
    SourceRecord,
    TaskResult,
    VariantRecord,
)
from edgetl.run import WeightsRecord
from edgetl.tasks import ImageClassification
from edgetl.tasks.images import ImageInput
from edgetl.types import Verdict

KEPT = ("<script>conv", "head")
STEPS = (
    Attempt(step="plain", quantisation=Quantisation(samples=16), drop_points=9.0, sqnr_db=9.5, verdict="fail",
            size_bytes=10**6),
    Attempt(step="two layers kept", quantisation=Quantisation(samples=16, kept=KEPT), drop_points=0.5, sqnr_db=25.0,
            verdict="pass", size_bytes=10**6),
)  # fmt: skip


def labels(count: int) -> tuple[str, ...]:
    return ("<script>alert(1)</script>", "$x$", *(f"label {i}" for i in range(2, count)))


def bundle_of(folder: Path, count: int, per_class: int = 40) -> Bundle:
    """Two variants whose answers are on disk; the int8 one answers half of the first label wrong."""
    truths = np.repeat(np.arange(count), per_class)
    wrong = np.where((truths == 0) & (np.arange(len(truths)) % 2 == 0), 1, truths)
    (folder / "golden").mkdir(parents=True)
    np.savez(folder / "golden/v.npz", samples=np.arange(len(truths), dtype=np.uint64), truths=truths, reference=truths)
    for name, answers in (("openvino-fp32", truths), ("openvino-int8", wrong)):
        (folder / f"{name}.bin").write_bytes(bytes(10**6 if name.endswith("int8") else 4 * 10**6))
        np.savez(folder / f"{name}.npz", variant=answers)
    return Bundle(folder, manifest_of(folder, count, len(truths), int((wrong != truths).sum())))


def manifest_of(folder: Path, count: int, samples: int, lost: int) -> Manifest:
    plain = VariantRecord(
        id="openvino-fp32", engine="openvino", precision="fp32", files=("openvino-fp32.bin",), engine_version="1",
        status="verified", verdict="pass", answers="openvino-fp32.npz",
    )  # fmt: skip
    result = TaskResult(metric="top1", samples=samples, reference=1.0, value=1 - lost / samples, lost=lost, gained=0)
    int8 = msgspec.structs.replace(
        plain, id="openvino-int8", precision="int8", files=("openvino-int8.bin",), answers="openvino-int8.npz",
        task_result=result, quantisation=STEPS[-1].quantisation, attempts=STEPS,
    )  # fmt: skip
    return Manifest(
        schema="1.2",
        task=ImageClassification(labels=labels(count), input=ImageInput(height=32, width=32, resize=32)),
        inputs=(), outputs=(), variants=(plain, int8), golden=GoldenRecord(kind="synthetic", samples=8),
        source=SourceRecord(
            run="my <run>", strategy="s", backbone="b", data_fingerprint="f", calibration={"samples": 16, "seed": 3},
            weights=WeightsRecord(origin="<script>o", sha256="", licence="none"),
        ),
        versions={"edgetl": "0.1"}, files=file_records(folder), validation="golden/v.npz",
        calibration_curve=tuple(CalibrationPoint(samples=2**i, sqnr_db=3.0 * i, agreement=0.9) for i in range(1, 6)),
        refused={"tensorrt-int8": "its library is <script>missing"},
    )  # fmt: skip


def report_of(bundle: Bundle, verdict: Verdict = "pass", *, low: float = -1.0, ms: float | None = 2.0) -> Report:
    reports = tuple(
        VariantReport(
            id=variant.id, verdict=verdict if variant.precision == "int8" else "pass", samples=8, agreement=0.98,
            metric=Metric(name="macro_f1", reference=0.9, value=0.9), sqnr_db=24.0, max_abs_dlogit=0.25,
            drop_points=Interval(value=0.25, low=low, high=1.5), latency_ms=Latency(p50=ms, p99=None) if ms else None,
            reasons=(Reason(layer="numerics", verdict=verdict, text="<script>why", cause="a cause"),),
        )
        for variant in bundle.manifest.variants
    )  # fmt: skip
    return Report(bundle="out/<b>", device="host", verdict=verdict, variants=reports)


def page(folder: Path, bundle: Bundle, report: Report) -> str:
    write_report(folder / "r.html", bundle, report)
    return (folder / "r.html").read_text()


def titles(text: str) -> list[str]:
    return [unescape(title) for title in re.findall(r"<h2>(.*?)</h2>", text)]


@pytest.fixture
def small(tmp_path: Path) -> Bundle:
    return bundle_of(tmp_path / "small", 3)


def test_the_sections_follow_the_readers_questions(tmp_path: Path, small: Bundle) -> None:
    assert titles(page(tmp_path, small, report_of(small, "fail"))) == [
        "Variants", "Accuracy against size", "Accuracy against latency", "Accuracy drop",
        "Damage by class: openvino-int8", "What was tried for int8: openvino-int8", "Calibration images", "Refused",
        "Speed", "What travels", "How to reproduce",
    ]  # fmt: skip


def test_what_is_not_known_is_left_out(tmp_path: Path, small: Bundle) -> None:
    bare = tuple(msgspec.structs.replace(v, answers=None, attempts=()) for v in small.manifest.variants)
    manifest = msgspec.structs.replace(small.manifest, variants=bare, calibration_curve=(), refused={}, validation=None)
    unjudged = Report(bundle="b", device="host", verdict="pass", variants=())
    text = page(tmp_path, Bundle(small.path, manifest), unjudged)
    assert titles(text) == ["Variants", "Refused", "What travels", "How to reproduce"]
    assert text.count("not judged here; pass at export") >= 2 and "<svg" not in text


def test_nothing_is_executed_loaded_or_left_unescaped(tmp_path: Path, small: Bundle) -> None:
    text = page(tmp_path, small, report_of(small, "fail"))
    assert "<script" not in text and "@import" not in text and "url(http" not in text and "<b>" not in text
    assert all(link.startswith("#") for link in re.findall(r'(?:src|href)="([^"]*)"', text))
    for name in ("alert(1)", "conv", "o", "missing", "why"):
        assert f"&lt;script&gt;{name}" in text
    assert all(len(alt) > 10 for alt in re.findall(r'<figure role="img" aria-label="([^"]*)"', text))


def test_ids_are_unique_in_the_page_and_every_reference_has_its_target(tmp_path: Path, small: Bundle) -> None:
    text = page(tmp_path, small, report_of(small, "fail"))
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids)) > 20
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', text)) <= set(ids)


def test_a_label_that_looks_like_markup_of_a_plot_stays_as_it_is(tmp_path: Path) -> None:
    figure = Figure()
    figure.subplots().set_title(' id="x" href="#y" url(#z)')
    write_page(tmp_path / "p.html", "t", "s", [Section(title="one", plot=figure)])
    assert '> id="x" href="#y" url(#z)</text>' in unescape((tmp_path / "p.html").read_text())


def test_two_processes_write_the_same_bytes(tmp_path: Path, small: Bundle) -> None:
    report = report_of(small, "fail")
    text = page(tmp_path, small, report)
    (tmp_path / "manifest").write_bytes(msgspec.json.encode(small.manifest))
    (tmp_path / "report").write_bytes(msgspec.json.encode(report))
    program = (
        "import sys, msgspec; from pathlib import Path; from edgetl.bundle import Bundle; "
        "from edgetl.manifest import Manifest; from edgetl.devices.verdict import Report; "
        "from edgetl.export.report import write_report; folder = Path(sys.argv[1]); "
        "read = lambda name, kind: msgspec.json.decode((folder / name).read_bytes(), type=kind); "
        "bundle = Bundle(folder / 'small', read('manifest', Manifest)); "
        "write_report(folder / 'other.html', bundle, read('report', Report))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=120)
    assert (tmp_path / "other.html").read_text() == text


def test_a_thousand_classes_stay_small(tmp_path: Path) -> None:
    large = bundle_of(tmp_path / "large", 1000, per_class=4)
    text = page(tmp_path, large, report_of(large))
    assert len(text) < 2 * 2**20 and "1000 labels" in text
    assert "Few samples: 1,000 of 1,000 classes" in text


def test_the_damaged_class_is_named_with_its_counts(tmp_path: Path, small: Bundle) -> None:
    text = unescape(page(tmp_path, small, report_of(small)))
    assert "<td>20</td><td>40</td><td>50.0%</td><td>0.0%</td>" in text
    assert "lost 20 of 40 images" in text and "No right answer was lost by openvino-fp32" in text


def test_groups_are_counted_beside_classes() -> None:
    answers = Answers(
        samples=np.arange(4), truths=np.array([0, 0, 1, 1]), reference=np.array([0, 0, 1, 0]),
        variant=np.array([1, 0, 1, 1]), groups=np.array(["door", "", "door", ""]),
    )  # fmt: skip
    found = {part.name: (part.samples, part.lost, part.gained) for part in counted(answers, ("a", "b", "c"))}
    assert found == {"a": (2, 1, 0), "b": (2, 0, 1), "group door": (2, 1, 0)}


def test_the_metric_of_the_report_names_the_column(tmp_path: Path, small: Bundle) -> None:
    text = page(tmp_path, small, report_of(small))
    assert '<th scope="col">macro-F1</th>' in text and "drop of macro-F1" in text and "top-1" not in text


def judged(small: Bundle, name: str, verdict: Verdict = "pass") -> Judged:
    record = msgspec.structs.replace(small.manifest.variants[0], id=name)
    return Judged(record=record, report=VariantReport(id=name, verdict=verdict), size_mb=1.0)


def test_the_front_has_what_nothing_beats_and_nothing_that_failed(small: Bundle) -> None:
    made = {"a": (1.0, 3.0), "b": (2.0, 1.0), "beaten": (2.0, 2.0), "c": (4.0, 0.0), "slow": (5.0, 0.0)}
    points = [
        Point(judged=judged(small, name), cost=cost, drop=Interval(value=drop, low=drop - 1, high=drop + 1))
        for name, (cost, drop) in made.items()
    ]
    failed = Point(judged=judged(small, "ruined", "fail"), cost=0.5, drop=Interval(value=-1, low=-2, high=0))
    assert [point.judged.id for point in front([*points, failed])] == ["a", "b", "c"]


def test_a_ruined_variant_does_not_flatten_the_plot(tmp_path: Path, small: Bundle) -> None:
    report = report_of(small, "fail")
    ruined = msgspec.structs.replace(report.variants[1], drop_points=Interval(value=70, low=65, high=75))
    third = msgspec.structs.replace(small.manifest.variants[0], id="openvino-w8", precision="w8")
    manifest = msgspec.structs.replace(small.manifest, variants=(*small.manifest.variants, third))
    variants = (report.variants[0], ruined, msgspec.structs.replace(report.variants[0], id="openvino-w8"))
    text = page(tmp_path, Bundle(small.path, manifest), msgspec.structs.replace(report, variants=variants))
    assert "Off the scale: openvino-int8 (1 MB, +70.0 points)" in text and "+70.0 points →" in text


def test_labels_of_points_at_one_place_do_not_overlap() -> None:
    figure = Figure(figsize=(7.5, 4.4))
    axes = figure.subplots()
    points = [Labelled(x=1.0 + 1e-3 * i, y=0.0, text=f"onnxruntime-{i}") for i in range(6)]
    axes.plot([0, *(point.x for point in points)], [1, *(point.y for point in points)], "o")
    place_labels(axes, points, [(0.0, 0.0, 1.0, 0.0)])
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the line to the point
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


def test_each_step_says_what_it_changed(tmp_path: Path, small: Bundle) -> None:
    text = unescape(page(tmp_path, small, report_of(small)))
    assert "How int8 got right: openvino-int8" in text and "In the bundle: the step “two layers kept”." in text
    assert "2 layers stay in floating point: <script>conv, head." in text
    first = Quantisation(samples=8)
    assert changes(None, first) == ["8 calibration images", "ranges: min-max"]
    then = Quantisation(samples=16, ranges="mse", bias_correction=True, trained=True, kept=("a", "b"))
    assert changes(first, then) == [
        "calibration images: 8 → 16", "ranges: min-max → mse", "bias correction on", "fine-tuned under quantisation",
        "kept in floating point: a, b",
    ]  # fmt: skip
    assert "quantised again: a, b" in changes(then, first) and changes(then, then) == []


def test_the_chosen_number_of_calibration_images_is_marked(tmp_path: Path, small: Bundle) -> None:
    text = page(tmp_path, small, report_of(small))
    assert "Chosen: 16 images, 12.0 dB, 90.0% agree." in text and "<td>16 (chosen)</td>" in text
    assert "chosen: 16</text>" in text


def test_what_was_refused_and_what_failed_say_why(tmp_path: Path, small: Bundle) -> None:
    text = unescape(page(tmp_path, small, report_of(small, "fail")))
    assert "<td>tensorrt-int8</td><td>left out</td><td>its library is <script>missing</td>" in text
    assert "<td>openvino-int8</td><td>failed</td><td>numerics: <script>why – a cause</td>" in text


def test_the_command_is_one_that_export_understands(small: Bundle, cli: Cli) -> None:
    line = next(line for line in commands(small.manifest, "out b").splitlines() if line.startswith("edgetl export"))
    _, *words = shlex.split(line)
    assert words[:4] == ["export", "my <run>", "-o", "out b"] and words[words.index("--seed") + 1] == "3"
    refused = cli(*words)
    assert refused.exit_code == 4 and "my <run>" in refused.stderr


def test_options_that_were_asked_for_are_the_ones_shown(small: Bundle) -> None:
    source = msgspec.structs.replace(
        small.manifest.source, options={"golden": "none", "per_tensor": True, "data": None}
    )
    text = commands(msgspec.structs.replace(small.manifest, source=source), "b")
    assert "--golden none --per-tensor --variants openvino-fp32,openvino-int8" in text and "--data" not in text


def test_an_exported_bundle_shows_its_own_numbers(bundle: Path) -> None:
    text = (bundle / "report.html").read_text()
    assert titles(text)[:3] == ["Variants", "Accuracy against size", "Accuracy drop"]
    assert "(90)" in text and all(variant.id in text for variant in open_bundle(bundle).manifest.variants)
