"""Runs of texts and of boxes become bundles whose variants are judged as those of images are."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from tests.conftest import Cli
from tests.core.boxed_files import drawn_photos, write_coco
from tests.finetune.detection.conftest import tiny
from tests.finetune.text.conftest import asked
from tests.finetune.text.corpus import write_backbone, write_reviews

from edgetl.bundle import open_bundle
from edgetl.errors import ConfigError, EngineError
from edgetl.export.config import ExportConfig
from edgetl.export.stage import export
from edgetl.files import configured
from edgetl.finetune.detection.stage import finetune as learn_boxes
from edgetl.finetune.text.stage import finetune as learn_texts
from edgetl.runtime import load
from edgetl.tasks import ObjectDetection
from edgetl.tasks.preparation import Wishes

VARIANTS = ("onnxruntime-fp32", "onnxruntime-int8", "openvino-fp32")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    data = write_reviews(folder / "reviews.csv", {"train": 80, "val": 60})
    learn_texts(asked(data, write_backbone(folder / "tiny"), "fine-tune"), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boxes")
    learn_boxes(tiny(write_coco(folder / "data", drawn_photos({"train": 12, "val": 16, "test": 4}))), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def text_bundle(texts: Path) -> Path:
    bundle = texts.parent / "bundle"
    export(texts, bundle, ExportConfig(variants=VARIANTS, escalate=False))
    return bundle


def statuses(bundle: Path) -> dict[str, str]:
    return {each.id: each.status for each in open_bundle(bundle).manifest.variants}


def test_a_run_of_texts_becomes_a_bundle_that_tokenises_for_itself(text_bundle: Path, cli: Cli) -> None:
    found = statuses(text_bundle)
    assert found["onnxruntime-fp32"] == found["openvino-fp32"] == "verified", found
    held = {record.path for record in open_bundle(text_bundle).manifest.files}
    assert {"tokenizer.json", "golden/samples/0000.txt", "golden/probes/long.txt"} <= held
    result = cli("check", text_bundle, "--variants", "openvino-fp32", "--json")
    assert result.exit_code == 0, result.stderr
    reasons = json.loads(result.stdout)["variants"][0]["reasons"]
    assert any(each["layer"] == "input" and "exactly the expected tokens" in each["text"] for each in reasons)
    assert "Damage by class" in (text_bundle / "report.html").read_text()


def test_both_ways_of_int8_are_tried_and_kept_with_their_figures(text_bundle: Path) -> None:
    variant = open_bundle(text_bundle).variant("onnxruntime-int8")
    assert [way.quantisation.dynamic for way in variant.ways] == [False, True]
    assert variant.ways[0].time == 1.0 and variant.quantisation in [way.quantisation for way in variant.ways]
    with load(text_bundle, variant="onnxruntime-int8") as session:
        assert session.facts.precision == "int8"


def test_padding_changes_no_answer(text_bundle: Path) -> None:
    texts = ["good", "a good film with a long and a very long plot that ends well"]
    with load(text_bundle, variant="onnxruntime-fp32") as session:
        alone = [session.predict(text).probabilities for text in texts]
        together = [answer.probabilities for answer in session.predict(texts)]
    assert np.allclose(alone, together, atol=1e-5)


def test_a_text_padded_to_a_step_is_answered_alike(text_bundle: Path) -> None:
    """By models compiled for a length; batches are answered by the one that leaves it open."""
    texts = ["good", "a good film with a long and a very long plot that ends well", "a bad plot"]
    with load(text_bundle, variant="openvino-fp32") as session:
        plain = [session.predict(text).probabilities for text in texts]
    with load(text_bundle, variant="openvino-fp32", options={"length_step": 8}) as session:
        assert np.allclose([session.predict(text).probabilities for text in texts], plain, atol=1e-5)
        assert np.allclose([each.probabilities for each in session.predict(texts)], plain, atol=1e-5)


def test_a_length_step_is_for_texts(bundle: Path) -> None:
    with pytest.raises(EngineError, match="`length_step` is for models that read texts"):
        load(bundle, variant="openvino-fp32", options={"length_step": 8})


def test_no_text_of_the_users_travels_when_asked(texts: Path, tmp_path: Path) -> None:
    config = ExportConfig(variants=("onnxruntime-fp32",), golden="synthetic")
    export(texts, tmp_path / "b", config)
    golden = open_bundle(tmp_path / "b").manifest.golden
    said = {text.strip() for text in json.loads((texts / "texts.json").read_bytes())}
    assert golden.kind == "synthetic" and golden.encoded
    assert not said & {(tmp_path / "b" / name).read_text().strip() for name in golden.encoded}


@pytest.mark.slow
def test_half_precision_of_texts(texts: Path, tmp_path: Path) -> None:
    export(texts, tmp_path / "b", ExportConfig(variants=("onnxruntime-fp16", "openvino-bf16")))
    assert "failed" not in statuses(tmp_path / "b").values(), statuses(tmp_path / "b")


@pytest.mark.slow
def test_a_detector_suppresses_in_the_graph_as_on_the_device(boxes: Path, tmp_path: Path) -> None:
    answers: dict[str, list[Any]] = {}
    places: tuple[Literal["device", "graph"], ...] = ("device", "graph")
    for where in places:
        config = ExportConfig(variants=("onnxruntime-fp32", "openvino-fp32"), nms=where)
        export(boxes, tmp_path / where, config)
        assert set(statuses(tmp_path / where).values()) == {"verified"}
        bundle = open_bundle(tmp_path / where)
        task = bundle.manifest.task
        assert isinstance(task, ObjectDetection) and (task.iou_threshold is None) == (where == "graph")
        photos = [(bundle.path / name).read_bytes() for name in bundle.manifest.golden.encoded]
        for variant in ("onnxruntime-fp32", "openvino-fp32"):
            with load(bundle, variant=variant) as session:
                answers[f"{where} {variant}"] = session.answers(photos, Wishes(threshold=0.02))
    for variant in ("onnxruntime-fp32", "openvino-fp32"):
        assert answers[f"device {variant}"] == answers[f"graph {variant}"]
    assert sum(len(each.objects) for each in answers["device onnxruntime-fp32"]) > 20


@pytest.mark.slow
def test_a_detectors_int8_is_judged_by_its_boxes(boxes: Path, tmp_path: Path) -> None:
    export(boxes, tmp_path / "b", ExportConfig(variants=("onnxruntime-int8",), escalate=False))
    (variant,) = open_bundle(tmp_path / "b").manifest.variants
    assert variant.task_result and variant.task_result.metric == "map50" and variant.facts
    page = (tmp_path / "b" / "report.html").read_text()
    assert "What is found" in page and "Precision by label" in page


def test_wishes_that_a_task_has_not_are_refused(texts: Path, boxes: Path, tmp_path: Path) -> None:
    for run, wish in ((texts, {"nms": "graph"}), (texts, {"embedding": True}), (boxes, {"embedding": True})):
        with pytest.raises(ConfigError):
            export(run, tmp_path / "b", configured(wish, ExportConfig))
        assert not (tmp_path / "b").exists()
