"""What other servers are told of texts and of objects: tensors with a free length, and what prepares a text."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tests.task_bundles import detection_bundle, text_bundle
from tritonclient.grpc import model_config_pb2

from edgetl.bundle import open_bundle
from edgetl.export.container import containerfile
from edgetl.export.triton import write_repository

TYPES = model_config_pb2.DataType


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_bundle(tmp_path_factory.mktemp("bundles") / "reviews")


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return detection_bundle(tmp_path_factory.mktemp("bundles") / "squares")


def tensors(folder: Path) -> list[tuple[str, Any, list[int], str]]:
    config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    inputs = [(each.name, each.data_type, list(each.dims), "") for each in config.input]
    return inputs + [(each.name, each.data_type, list(each.dims), each.label_filename) for each in config.output]


def test_triton_takes_texts_of_any_length_and_gets_the_tokeniser(reviews: Path, tmp_path: Path) -> None:
    folder = write_repository(open_bundle(reviews), "onnxruntime-fp32", tmp_path, name="reviews")
    assert tensors(folder) == [
        ("ids", TYPES.TYPE_INT64, [-1], ""), ("mask", TYPES.TYPE_INT64, [-1], ""),
        ("logits", TYPES.TYPE_FP32, [2], ""), ("probabilities", TYPES.TYPE_FP32, [2], "labels.txt"),
    ]  # fmt: skip
    assert (folder / "tokenizer.json").read_bytes() == (reviews / "tokenizer.json").read_bytes()
    loose = write_repository(open_bundle(reviews), "openvino-fp32", tmp_path, name="free", fast=True)
    assert tensors(loose)[0] == ("ids", TYPES.TYPE_INT64, [-1, -1], "")


def test_triton_answers_with_boxes_and_scores(squares: Path, tmp_path: Path) -> None:
    folder = write_repository(open_bundle(squares), "onnxruntime-fp32", tmp_path, name="squares")
    assert tensors(folder) == [
        ("image", TYPES.TYPE_UINT8, [64, 64, 3], ""),
        ("boxes", TYPES.TYPE_FP32, [64, 4], ""), ("scores", TYPES.TYPE_FP32, [64, 3], ""),
    ]  # fmt: skip
    assert not (folder / "tokenizer.json").exists()


def test_a_container_has_what_its_task_needs(reviews: Path, squares: Path) -> None:
    extras = [containerfile(open_bundle(bundle).manifest, "model").count(",text,") for bundle in (reviews, squares)]
    assert extras[0] >= 1 and extras[1] == 0
