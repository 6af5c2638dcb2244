"""Text classifiers from elsewhere: their own input names, integers and types of tokens, behind `ids` and `mask`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from tests.export.adopt.files import constants, model_of, said
from tokenizers import Tokenizer, models, pre_tokenizers

from edgetl.errors import ArtefactError, ConfigError
from edgetl.export.adopt.config import AdoptConfig
from edgetl.export.adopt.source import open_adopted
from edgetl.export.source import Source

WORDS = ("[PAD]", "[UNK]", "good", "fine", "bad", "dull", "film", "plot", "the", "a")
LABELS = ("negative", "positive")
TOML = 'tokenizer = "tokenizer.json"\nmax_length = 16\n'
Axes = Sequence[int | str]


def tokeniser(folder: Path) -> None:
    model = models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))


def reviews(path: Path, count: int = 24) -> Path:
    """Sentences of one to seven words, good and bad in turns."""
    rng = np.random.default_rng(0)
    rows = ["text,label"]
    for i in range(count):
        tone = ("bad", "dull") if i % 2 == 0 else ("good", "fine")
        words = [tone[i % 4 // 2], *rng.choice(WORDS[6:], rng.integers(0, 7))]
        rows.append(f"{' '.join(words)} w{i},{LABELS[i % 2]}")
    path.write_text("\n".join(rows) + "\n")
    return path


def text_model(
    path: Path,
    *,
    names: tuple[str, ...] = ("input_ids", "attention_mask", "token_type_ids"),
    kind: int = TensorProto.INT64,
    axes: Axes = ("batch", "length"),
    masked: bool = True,
) -> Path:
    """The mean of word vectors under the mask, and a matrix product; with types of tokens, a vector for those too."""
    rng = np.random.default_rng(1)
    weights = constants(
        words=rng.normal(size=(len(WORDS), 8)).astype(np.float32), head=rng.normal(size=(8, 2)).astype(np.float32),
        types=rng.normal(size=(2, 8)).astype(np.float32), last=np.array([2], np.int64), one=np.array([1], np.int64),
    )  # fmt: skip
    nodes = [
        helper.make_node("Gather", ["words", names[0]], ["vectors"]),
        helper.make_node("Cast", [names[1]], ["seen"], to=TensorProto.FLOAT),
    ]
    summed = "vectors"
    if len(names) > 2:
        nodes += [helper.make_node("Gather", ["types", names[2]], ["kinds"]),
                  helper.make_node("Add", ["vectors", "kinds"], ["typed"])]  # fmt: skip
        summed = "typed"
    if masked:
        nodes += [helper.make_node("Unsqueeze", ["seen", "last"], ["column"]),
                  helper.make_node("Mul", [summed, "column"], ["left"])]  # fmt: skip
        summed = "left"
    nodes += [
        helper.make_node("ReduceSum", [summed, "one"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["seen", "one"], ["count"], keepdims=1),
        helper.make_node("Div", ["total", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "head"], ["logits"]),
    ]
    inputs = dict.fromkeys(names, (kind, axes))
    onnx.save(model_of(nodes, weights, inputs, {"logits": (axes[0], 2)}), path)
    return path


def adopted(path: Path, text: str = TOML, **more: Any) -> Source:
    tokeniser(path.parent)
    golden = reviews(path.parent / "reviews.csv")
    return open_adopted(
        path, AdoptConfig(task="text", **said(path.parent, text, LABELS), golden=str(golden), **more)
    )  # fmt: skip


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32])
@pytest.mark.parametrize("names", [("input_ids", "attention_mask"), ("input_ids", "attention_mask", "token_type_ids")])
def test_a_padded_batch_answers_as_each_text_alone(names: tuple[str, ...], kind: int, tmp_path: Path) -> None:
    path = text_model(tmp_path / "model.onnx", names=names, kind=kind)
    source = adopted(path)
    source.network.write(tmp_path / "written.onnx", 20)
    texts = ["good film", "the plot is dull and the film bad", "fine"]
    feeds = source.preparation(texts).feeds
    assert feeds["mask"].sum() < feeds["mask"].size
    found = ort.InferenceSession(tmp_path / "written.onnx").run(["logits"], dict(feeds))[0]
    session, whole = ort.InferenceSession(path), np.int64 if kind == TensorProto.INT64 else np.int32
    for row, text in enumerate(texts):
        ids = np.array([[WORDS.index(w) if w in WORDS else 1 for w in text.split()]], whole)
        known = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        alone = session.run(None, {name: known[name] for name in names})[0]
        assert np.allclose(found[row], alone[0], atol=1e-5)


def test_the_models_own_names_are_said(tmp_path: Path) -> None:
    path = text_model(tmp_path / "model.onnx", names=("tokens", "seen_tokens"))
    with pytest.raises(ArtefactError, match=r"`seen_tokens`, which is none of .* `tokens` \(batch × length\)"):
        adopted(path)
    source = adopted(path, TOML + 'ids = "tokens"\nmask = "seen_tokens"\n')
    source.network.write(tmp_path / "written.onnx", 20)
    inputs = onnx.load(tmp_path / "written.onnx").graph.input
    assert [value.name for value in inputs] == ["ids", "mask"]
    assert [axis.dim_param for axis in inputs[1].type.tensor_type.shape.dim] == ["batch", "length"]


def test_a_model_that_ignores_its_mask_is_refused(tmp_path: Path) -> None:
    """Its answer to a text would depend on how long the others in the batch are."""
    source = adopted(text_model(tmp_path / "model.onnx", masked=False))
    with pytest.raises(ArtefactError, match=r"in batches of 3 .* other `logits`"):
        source.network.write(tmp_path / "written.onnx", 20)


def test_a_fixed_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="has a fixed length"):
        adopted(text_model(tmp_path / "model.onnx", axes=("batch", 16)))


def test_a_fixed_batch_becomes_dynamic(tmp_path: Path) -> None:
    source = adopted(text_model(tmp_path / "model.onnx", axes=(1, "length")))
    source.network.write(tmp_path / "written.onnx", 20)
    feeds = source.preparation(["good film", "bad"]).feeds
    found = ort.InferenceSession(tmp_path / "written.onnx").run(["logits"], dict(feeds))[0]
    assert np.allclose(found, source.network.answer(feeds)["logits"], atol=1e-5)


def test_labels_without_rows_and_texts_without_labels(tmp_path: Path) -> None:
    source = adopted(text_model(tmp_path / "model.onnx"), unlabelled=True)
    record = source.split("val")[0]
    text = source.labelled(record).sample
    own = int(source.network.answer(source.preparation([text]).feeds)["logits"].argmax())
    assert record.label == own and source.origin.strategy.endswith("its own answers")
    with pytest.raises(ConfigError, match="max_length"):
        adopted(text_model(tmp_path / "model.onnx"), 'tokenizer = "tokenizer.json"\nmax_length = 1\n')
