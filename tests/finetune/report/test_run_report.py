"""The report is one harmless file that has what the run has, and stays small."""

import base64
import io
import re
from html import unescape
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from edgetl.finetune.evaluation.calibration import answers
from edgetl.finetune.evaluation.metrics import evaluate
from edgetl.finetune.head.logistic import Candidate
from edgetl.finetune.report.run_report import Story, write_report
from edgetl.finetune.report.trust import Mistake
from edgetl.run import DataRecord, Run, SampleRecord, WeightsRecord
from edgetl.tasks import ImageClassification
from edgetl.tasks.images import ImageInput


class PlainEpoch(msgspec.Struct, frozen=True, kw_only=True):
    epoch: int
    loss: float
    train_top1: float
    learning_rate: float = 1e-3
    seconds: float = 2.0


class WatchedEpoch(PlainEpoch, frozen=True, kw_only=True):
    val_loss: float | None = None
    val_metric: float | None = None


WATCHED = [
    WatchedEpoch(epoch=i, loss=1 / i, train_top1=0.8, val_loss=None if i == 2 else 1.5 / i, val_metric=0.5 + i / 20)
    for i in range(1, 6)
]


def record(**changes: object) -> Run:
    run = Run(
        schema="1.0", name="<i>run</i>", strategy="fine-tune", backbone="residual_cnn", seed=0, files={},
        weights=WeightsRecord(origin="random", sha256="", licence="none"),
        data=DataRecord(root="/d", fingerprint="f" * 64, counts={"train": 40, "val": 60}, skipped=("<s>.jpg",)),
        metrics={"top1": 0.5, "log_loss": 0.7}, headline="val", compute={}, versions={},
    )  # fmt: skip
    return msgspec.structs.replace(run, **changes)


def task_of(labels: tuple[str, ...]) -> ImageClassification:
    return ImageClassification(labels=labels, input=ImageInput(height=32, width=32, resize=32), temperature=2.0)


def mistakes(count: int, side: int = 20) -> list[Mistake]:
    rng = np.random.default_rng(0)
    return [
        Mistake(
            path=f"val/<u>/{i}.jpg", truth="<b>", predicted="$x$", probability=i / count,
            shown=rng.integers(0, 256, (side, side * 2, 3), np.uint8),
        )
        for i in range(count)
    ]  # fmt: skip


def story(labels: tuple[str, ...], **changes: object) -> Story:
    rng = np.random.default_rng(0)
    truths = rng.integers(0, len(labels), 60)
    logits = rng.normal(size=(60, len(labels))).astype(np.float32)
    told = Story(
        strategy=("because <b>",),
        samples=[SampleRecord(path=str(i), label=int(c), split="val", sha256="") for i, c in enumerate(truths)],
        findings=("ratio <b>",), scratch=WATCHED, comparison=("higher start <b>",),
        evaluation=evaluate(logits, truths, labels), uncalibrated=answers(logits, truths),
        calibrated=answers(logits, truths, 2.0), mistakes=mistakes(3),
    )  # fmt: skip
    return msgspec.structs.replace(told, **changes)


def names(count: int) -> tuple[str, ...]:
    return ("<b>", "$x$", "蝶", *(f"label {i}" for i in range(3, count)))[:count]


def page(folder: Path, labels: tuple[str, ...], told: Story | None, history: list[msgspec.Struct] | None = None) -> str:
    write_report(folder / "r.html", record(), task_of(labels), history or [*WATCHED], "edgetl <b>", story=told)
    return (folder / "r.html").read_text()


def titles(text: str) -> list[str]:
    return [unescape(title) for title in re.findall(r"<h2>(.*?)</h2>", text)]


def test_nothing_is_executed_loaded_or_left_unescaped(tmp_path: Path) -> None:
    text = page(tmp_path, names(12), story(names(12)))
    assert "<script" not in text and "@import" not in text and "url(http" not in text
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert links and all(link.startswith(("#", "data:image/jpeg;base64,")) for link in links)
    assert "&lt;b&gt;" in text
    assert not any(tag in text for tag in ("<b>", "<i>", "<s>", "<u>"))


def test_every_part_that_is_known_has_its_section(tmp_path: Path) -> None:
    assert titles(page(tmp_path, names(12), story(names(12)))) == [
        "Strategy", "Data", "Images a class", "Labels and input", "Learning curves", "Scores", "Classes",
        "Confusion matrix", "Reliability", "Most confident mistakes", "Weights and computation", "How to reproduce",
    ]  # fmt: skip


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    candidates: list[msgspec.Struct] = [Candidate(c=c, log_loss=1 - c, top1=0.5) for c in (0.1, 0.5)]
    assert titles(page(tmp_path, names(2), None, candidates)) == [
        "Data", "Labels and input", "Regularisation of the head", "Weights and computation", "How to reproduce",
    ]  # fmt: skip


def test_epochs_without_held_out_scores_are_drawn_too(tmp_path: Path) -> None:
    text = page(tmp_path, names(2), None, [PlainEpoch(epoch=1, loss=2.0, train_top1=0.25)])
    assert "training loss from 2 to 2; training top-1 from 25 % to 25 %" in text and "held-out" not in text


def test_the_curves_say_in_words_what_they_show(tmp_path: Path) -> None:
    text = page(tmp_path, names(2), story(names(2)))
    assert "training loss from 1 to 0.2" in text and "held-out top-1 from 55 % to 75 %" in text
    assert all(re.findall(r'<figure role="img" aria-label="([^"]*)"', text))
    assert all(len(alt) > 10 for alt in re.findall(r'<img [^>]*alt="([^"]*)"', text))


@pytest.mark.parametrize(
    ("count", "matrix", "bars"), [(2, True, True), (30, True, True), (40, False, True), (60, False, False)]
)
def test_many_labels_change_plots_to_tables(tmp_path: Path, count: int, matrix: bool, bars: bool) -> None:
    text = page(tmp_path, names(count), story(names(count)))
    assert ("Confusion matrix" in titles(text), "Images a class" in titles(text)) == (matrix, bars)
    assert ("most frequent of" in text) == (not matrix)
    assert ("lowest by F1 of 60 classes" in text) == (count > 50)


def test_the_score_has_its_interval_and_sample_size(tmp_path: Path) -> None:
    truths = np.array([0] * 9 + [1])
    logits = np.tile(np.array([[1.0, 0.0]], np.float32), (10, 1))
    text = page(tmp_path, names(2), Story(evaluation=evaluate(logits, truths, names(2))))
    # Wilson's interval of 9 in 10 at 95 %, from its closed form.
    z, p, n = 1.959964, 0.9, 10
    centre, half = (p + z * z / 2 / n) / (1 + z * z / n), z * (p * 0.1 / n + (z / 2 / n) ** 2) ** 0.5 / (1 + z * z / n)
    assert "On 10 val images" in text and f"{centre - half:.1%} … {centre + half:.1%}" in text


def test_a_matrix_without_mistakes_and_a_single_right_label(tmp_path: Path) -> None:
    logits = np.eye(40, dtype=np.float32)[:3]
    text = page(tmp_path, names(40), Story(evaluation=evaluate(logits, np.arange(3), names(40))))
    assert "No image was taken for another label." in text


def test_large_mistakes_become_small_pictures_the_surest_first(tmp_path: Path) -> None:
    text = page(tmp_path, names(2), Story(mistakes=mistakes(40, side=600)))
    assert len(text) < 2 * 2**20
    captions = re.findall(r"<span>said: .*?, (.*?)%</span>", text)
    assert len(captions) == 24 and captions[0] == "97.5" and captions == sorted(captions, key=float, reverse=True)


def test_thumbnails_fit_their_square(tmp_path: Path) -> None:
    text = page(tmp_path, names(2), Story(mistakes=mistakes(1, side=600)))
    jpeg = base64.b64decode(re.findall(r"base64,([^\"]*)", text)[0])
    assert Image.open(io.BytesIO(jpeg)).size == (112, 56)


def test_a_label_that_looks_like_a_formula_stays_as_it_is(tmp_path: Path) -> None:
    labels = (r"$\nonsense{$", "$x$")
    text = page(tmp_path, labels, story(labels, mistakes=()))
    assert all(f">{label}</text>" in text for label in labels)
