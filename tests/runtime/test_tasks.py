"""Sessions of the other tasks: texts of any length become labels, photos objects, and no query is longer than it is."""

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic
from tests.task_bundles import MAX_LENGTH, VARIANTS, photo, sentences, text_answers, text_graph

from edgetl.bundle import file_records, open_bundle, write_manifest
from edgetl.errors import ArtefactError, ConfigError, DataError
from edgetl.manifest import GoldenRecord, Manifest
from edgetl.runtime import Session, load
from edgetl.runtime.bench import single_queries
from edgetl.runtime.bench.inputs import queries, read_inputs
from edgetl.runtime.engines import open_engine
from edgetl.runtime.session import BATCH, sample_feeds
from edgetl.runtime.throughput import batches
from edgetl.types import Feeds, Outputs


class Recording(Session):
    """A real session that remembers what its engine was asked."""

    asked: list[Feeds]

    def infer(self, feeds: Feeds) -> Outputs:
        self.asked.append(feeds)
        return super().infer(feeds)


@contextmanager
def recording(bundle: Path) -> Iterator[Recording]:
    opened = open_bundle(bundle)
    with closing(Recording(opened, opened.variant("onnxruntime-fp32"), {})) as made:
        made.asked = []
        yield made


@pytest.mark.parametrize("variant", VARIANTS)
def test_texts_get_their_labels_in_their_order_whatever_their_length(reviews: Path, variant: str) -> None:
    texts, truths = sentences(50, seed=3)
    with load(reviews, variant=variant) as model:
        found = model.predict(texts)
        alone = [model.predict(text, top=1) for text in texts[:5]]
        assert model.predict(texts[0].encode()) == model.predict(texts[0]) == found[0]
        assert model.predict([]) == []
        expected = text_answers(model.bundle.preparation(texts).feeds)["probabilities"]
    assert [each.label for each in found] == [("negative", "positive")[truth] for truth in truths]
    np.testing.assert_allclose([each.probability for each in found], expected.max(axis=1), atol=1e-5)
    assert [each.label for each in alone] == [each.label for each in found[:5]]


def test_texts_of_like_length_share_a_batch(reviews: Path) -> None:
    texts, _ = sentences(40, seed=5)
    with recording(reviews) as model:
        model.predict(texts)
        lengths = [len(text.split()) + 2 for text in texts]
    assert [len(feeds["ids"]) for feeds in model.asked] == [BATCH, BATCH, 8]
    widths = [feeds["ids"].shape[1] for feeds in model.asked]
    assert widths == sorted(widths) and widths[0] < max(lengths) == widths[-1]


def test_a_long_text_is_cut_as_in_training(reviews: Path) -> None:
    with recording(reviews) as model:
        model.predict(" ".join(["dull"] * 500))
    assert model.asked[0]["ids"].shape == (1, MAX_LENGTH)


def test_what_is_no_text_is_a_data_error(reviews: Path) -> None:
    with load(reviews) as model:
        for sample, said in (
            (" ", "empty"),
            (b"\xff\xfe", "no UTF-8"),
            (Path("a.txt"), "cannot be a"),
            (np.zeros((4, 4, 3), np.uint8), "cannot be a"),
        ):
            with pytest.raises(DataError, match=said):
                model.predict(["fine", sample])
            with pytest.raises(DataError, match=said):
                model.predict(sample)


@pytest.mark.parametrize("variant", VARIANTS)
def test_objects_lie_where_they_are_in_the_photo(squares: Path, variant: str) -> None:
    shown = [photo(seed) for seed in range(100, 120)]
    with load(squares, variant=variant) as model:
        found = model.detect([content for content, _, _ in shown])
        assert model.detect(shown[0][0]) == found[0]
    for answer, (_, boxes, labels) in zip(found, shown, strict=True):
        order = sorted(range(len(boxes)), key=lambda i: tuple(boxes[i]))
        seen = sorted(answer.objects, key=lambda each: each.box)
        assert [each.label for each in seen] == [("red", "green", "blue")[labels[i]] for i in order]
        np.testing.assert_allclose([each.box for each in seen], boxes[order], atol=1)


def test_only_what_scores_enough_is_found(squares: Path) -> None:
    content, boxes, _ = photo(1)
    with load(squares) as model:
        assert len(model.detect(content).objects) == len(boxes)
        assert model.detect(content, threshold=0.999).objects == ()
        assert len(model.detect(content, threshold=0.0).objects) > len(boxes)
        with pytest.raises(ConfigError, match="threshold"):
            model.detect(content, threshold=1.5)


def test_each_question_is_refused_by_the_other_kind(reviews: Path, squares: Path) -> None:
    with load(reviews) as model, pytest.raises(ConfigError, match="`detect` does not give") as caught:
        model.detect(photo(0)[0])
    assert caught.value.hint == "call `predict`"
    with load(squares) as model, pytest.raises(ConfigError, match="`predict` does not give") as caught:
        model.predict(photo(0)[0])
    assert caught.value.hint == "call `detect`"


def test_no_query_is_longer_than_its_own_text(reviews: Path) -> None:
    opened = open_bundle(reviews)
    lengths = opened.golden()["mask"].sum(axis=1)
    for i, feeds in enumerate(single_queries(opened)):
        assert feeds["ids"].shape == (1, lengths[i % len(lengths)])
    for i, feeds in enumerate(batches(opened, 8)):
        rows = np.arange(8 * i, 8 * i + 8) % len(lengths)
        assert feeds["mask"].sum() == lengths[rows].sum() and feeds["ids"].shape == (8, lengths[rows].max())
    assert len(sample_feeds(opened, 70)["ids"]) == 70


@pytest.mark.parametrize("timed", ["engine", "preprocessing", "bytes"])
def test_each_way_of_timing_asks_the_same_tokens(reviews: Path, tmp_path: Path, timed: str) -> None:
    texts, _ = sentences(10, seed=9)
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    with recording(reviews) as model:
        inputs = read_inputs(model.bundle, tmp_path / "texts.txt")
        ask = queries(model, inputs, timed, 1)  # type: ignore[arg-type]
        for number in range(10):
            ask(number)
        expected = [model.bundle.preparation([text]).feeds["ids"] for text in texts]
    assert inputs.source.endswith("10 of 10 texts")
    assert all(np.array_equal(feeds["ids"], ids) for feeds, ids in zip(model.asked, expected, strict=True))


def rehash(folder: Path, **changes: object) -> None:
    """Writes the manifest again for the files as they are."""
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)
    files = tuple(record for record in file_records(folder) if record.path != "manifest.json")
    write_manifest(folder, msgspec.structs.replace(manifest, files=files, **changes))


@pytest.mark.parametrize("name", ["reviews", "squares"])
def test_without_a_golden_set_there_are_stand_ins(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    source: Path = request.getfixturevalue(name)
    variants = tuple(msgspec.structs.replace(v, golden=None) for v in open_bundle(source).manifest.variants)
    bare = Path(shutil.copytree(source, tmp_path / "bare"))
    rehash(bare, golden=GoldenRecord(kind="none"), variants=variants)
    with load(bare) as model:
        feeds = single_queries(model.bundle)
        outputs = [model.infer(each) for each in feeds]
        assert "noise" in read_inputs(model.bundle).source
    assert len({tuple(array.tobytes() for array in each.values()) for each in feeds}) > 16
    assert all(np.isfinite(value).all() for each in outputs for value in each.values())


def test_a_graph_that_takes_one_length_only_is_refused(reviews: Path, tmp_path: Path) -> None:
    model = text_graph()
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[1].dim_value = 12
    copy = Path(shutil.copytree(reviews, tmp_path / "fixed"))
    onnx.save(model, copy / "onnxruntime-fp32" / "model.onnx")
    rehash(copy)
    with pytest.raises(ArtefactError, match=r"lacks the tensor .*ids"):
        load(copy, variant="onnxruntime-fp32")


def test_an_engine_calls_a_tensor_what_the_graph_calls_it(squares: Path) -> None:
    """OpenVINO fuses what leads to `scores` into one operation, which then has the names of all of them."""
    for name, files in VARIANTS.items():
        engine = open_engine(name.partition("-")[0], squares / name / files[0], {})
        assert [spec.name for spec in engine.outputs] == ["boxes", "scores"]
        engine.close()


def test_a_kernel_that_quantises_its_input_itself_counts_as_int8(tmp_path: Path) -> None:
    onnx.save(text_graph(), tmp_path / "model.onnx")
    quantize_dynamic(tmp_path / "model.onnx", tmp_path / "int8.onnx", weight_type=QuantType.QInt8)
    engine = open_engine("onnxruntime", tmp_path / "int8.onnx", {})
    assert engine.facts.layers == {"int8": 1} and engine.facts.precision == "int8"
    engine.close()
