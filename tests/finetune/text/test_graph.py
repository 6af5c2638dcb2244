"""What ships of a text classifier: the same answers in ONNX Runtime for any batch and length, the mask obeyed."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from tests.finetune.text.corpus import FAMILIES, WORDS

from edgetl.finetune.graph import export_onnx
from edgetl.finetune.text.graph import deploy
from edgetl.finetune.text.model import Architecture, Pooling, build
from edgetl.runtime.engines import open_engine
from edgetl.tasks import TextClassification
from edgetl.tasks.text_classification import TextInput
from edgetl.types import Array

TASK = TextClassification(labels=("a", "b", "c"), input=TextInput(max_length=64), temperature=1.7)


def feeds(rng: np.random.Generator, batch: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random ids; every row but the first is padded at its end."""
    ids = rng.integers(4, len(WORDS), (batch, length))
    mask = np.ones((batch, length), np.int64)
    for row in range(1, batch):
        kept = int(rng.integers(1, length + 1))
        ids[row, kept:], mask[row, kept:] = 0, 0
    return ids, mask


def exported(family: str, pooling: Pooling, path: Path) -> tuple[torch.nn.Module, object]:
    architecture = Architecture(family=family, pooling=pooling, config=dict(FAMILIES[family]))
    deployed = deploy(build(architecture, 3), TASK)
    export_onnx(deployed, TASK.inputs, path)
    return deployed, open_engine("onnxruntime", path, {})


def check_equal(family: str, pooling: Pooling, folder: Path) -> None:
    deployed, engine = exported(family, pooling, folder / "model.onnx")
    rng = np.random.default_rng(0)
    for batch in range(1, 6):
        for length in (3, 4, 17, 32, 60):
            ids, mask = feeds(rng, batch, length)
            with torch.inference_mode():
                expected = deployed(torch.from_numpy(ids), torch.from_numpy(mask))
            found = engine.run({"ids": ids, "mask": mask})  # type: ignore[attr-defined]
            for name, right in zip(("logits", "probabilities"), expected, strict=True):
                np.testing.assert_allclose(found[name], right.numpy(), atol=1e-4)
    engine.close()  # type: ignore[attr-defined]


def test_bert_answers_alike_for_any_batch_and_length(tmp_path: Path) -> None:
    check_equal("bert", "mean", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "own"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_alike_for_any_batch_and_length(family: str, pooling: Pooling, tmp_path: Path) -> None:
    check_equal(family, pooling, tmp_path)


def logits(model: torch.nn.Module, ids: Array, mask: Array) -> Array:
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(torch.from_numpy(ids), torch.from_numpy(mask))
    return found.numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_nothing_and_the_mask_matters(family: str) -> None:
    """A text alone answers as in a batch with longer ones; without its mask it would not."""
    config = dict(FAMILIES[family])
    model = build(Architecture(family=family, pooling="mean", config=config), 3)
    ids, mask = feeds(np.random.default_rng(1), 4, 30)
    together = logits(model, ids, mask)
    for row in range(4):
        kept = int(mask[row].sum())
        alone = logits(model, ids[row : row + 1, :kept], mask[row : row + 1, :kept])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)
    assert np.abs(logits(model, ids, np.ones_like(mask))[1:] - together[1:]).max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_the_own_head_is_that_of_transformers(family: str) -> None:
    """The reference is the library's own call, which takes the same network to its logits."""
    architecture = Architecture(family=family, pooling="own", config=dict(FAMILIES[family]))
    model = build(architecture, 3)
    ids, mask = feeds(np.random.default_rng(2), 3, 12)
    reference = transformers.AutoModelForSequenceClassification.from_config(model.encoder.config).eval()  # type: ignore[no-untyped-call]
    reference.load_state_dict({name.removeprefix("model."): value for name, value in model.state_dict().items()})
    with torch.inference_mode():
        expected = reference(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.numpy()
    np.testing.assert_allclose(logits(model, ids, mask), expected, atol=1e-6)


def test_roberta_loses_positions_to_its_padding() -> None:
    """Positions start after the padding token's id: of 70 rows 69 are for tokens where that id is 0."""
    config = dict(FAMILIES["roberta"])
    architecture = Architecture(family="roberta", pooling="mean", config=config)
    assert architecture.longest == 69
    ids = np.full((1, 69), 5)
    assert np.isfinite(logits(build(architecture, 3), ids, np.ones_like(ids))).all()
