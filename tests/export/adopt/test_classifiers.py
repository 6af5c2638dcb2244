"""Image classifiers from elsewhere become the graph of the task: uint8 pixels in, logits and probabilities out.

What they must answer is computed here: the untouched file, run photo by photo on pixels prepared by hand.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from tests.export.adopt.files import LABELS, classifier, constants, model_of, photos, said

from edgetl.errors import ArtefactError, ConfigError
from edgetl.export.adopt.config import AdoptConfig
from edgetl.export.adopt.source import open_adopted
from edgetl.export.source import Source
from edgetl.tasks.images import ImageInput, prepare
from edgetl.types import Array, Outputs

PLAIN = "size = 32\nmean = [0.5, 0.4, 0.3]\nstd = [0.2, 0.25, 0.3]\n"


def adopted(path: Path, text: str = PLAIN, labels: tuple[str, ...] = LABELS, **more: Any) -> Source:
    golden = path.parent / "photos"
    if not golden.is_dir():
        photos(golden)
    values = {**said(path.parent, text, labels), "golden": str(golden), "unlabelled": labels != LABELS, **more}
    return open_adopted(path, AdoptConfig(task="image", **values))


def pixels(folder: Path) -> Array:
    """All photos as the decoder gives them to a model that wants them stretched to 32 × 32."""
    spec = ImageInput(height=32, width=32, resize=32, mode="squash")
    return np.stack([prepare(path, spec) for path in sorted((folder / "photos").rglob("*.png"))])


def rewritten(source: Source, images: Array) -> Outputs:
    """What the graph edgetl writes answers to all of them at once."""
    path = Path(source.origin.backbone).with_suffix(".written.onnx")
    place = source.labelled(source.samples[0]).sample
    assert isinstance(place, Path)
    folder = next(parent for parent in place.parents if parent.name == "photos").parent
    source.network.write(folder / path, 20)
    session = ort.InferenceSession(folder / path)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": images}), strict=True))


def theirs(path: Path, batches: Array) -> Array:
    """What the file answers to each of the inputs, one by one."""
    session = ort.InferenceSession(path)
    return np.concatenate([session.run(["answers"], {"image": each[None]})[0] for each in batches])


def normalised(images: Array) -> Array:
    return ((images / 255 - (0.5, 0.4, 0.3)) / (0.2, 0.25, 0.3)).astype(np.float32)


def softmax(values: Array) -> Array:
    powers = np.exp(values - values.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def test_a_float_nchw_model_of_batch_one_takes_pixels_in_any_batch(tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx")
    source, images = adopted(path), pixels(tmp_path)
    answers = rewritten(source, images)
    expected = theirs(path, normalised(images).transpose(0, 3, 1, 2))
    assert np.allclose(answers["logits"], expected, atol=1e-5) and len(set(expected.argmax(1))) > 1
    assert np.allclose(answers["probabilities"], softmax(expected), atol=1e-5)
    assert source.task.misfit(source.task.inputs, source.network.outputs) is None


def test_a_file_with_no_height_and_width_gets_those_of_the_preprocessing(tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx", batch="N", side="side")
    source, images = adopted(path), pixels(tmp_path)
    answers = rewritten(source, images)
    assert np.allclose(answers["logits"], theirs(path, normalised(images).transpose(0, 3, 1, 2)), atol=1e-5)
    shape = onnx.load(tmp_path / "model.written.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in shape] == ["batch", 32, 32, 3]


@pytest.mark.parametrize(
    ("text", "feed"),
    [
        ("size = 32\nscale = 127.5\nmean = [1, 1, 1]\n", lambda images: images / 127.5 - 1),
        (
            'preset = "keras-caffe"\nsize = 32\n',
            lambda images: images[..., ::-1] - np.array([103.939, 116.779, 123.68]),
        ),
        ("size = 32\nscale = 1\n", lambda images: images),
    ],
)
def test_channels_last_and_other_normalisations(text: str, feed: Callable[[Array], Array], tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx", nhwc=True)
    source, images = adopted(path, text), pixels(tmp_path)
    expected = theirs(path, np.ascontiguousarray(feed(images), np.float32))
    found = rewritten(source, images)["logits"]
    assert np.allclose(found, expected, atol=1e-5 * max(1.0, float(np.abs(expected).max())))


def test_a_model_of_a_fixed_batch_of_two(tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx", batch=2)
    source, images = adopted(path), pixels(tmp_path)
    session = ort.InferenceSession(path)
    inputs = normalised(images).transpose(0, 3, 1, 2)
    expected = np.concatenate([session.run(["answers"], {"image": inputs[i : i + 2]})[0] for i in range(0, 18, 2)])
    assert np.allclose(rewritten(source, images)["logits"], expected, atol=1e-5)


def test_a_model_that_reads_pixels_itself(tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx", kind=TensorProto.UINT8, nhwc=True)
    source, images = adopted(path, "size = 32\n"), pixels(tmp_path)
    assert np.allclose(rewritten(source, images)["logits"], theirs(path, images), atol=1e-5)
    assert set(source.network.under()) == {"red and blue swapped"}


def test_probabilities_are_recognised_and_their_logarithms_taken(tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx", last="Softmax")
    source, images = adopted(path), pixels(tmp_path)
    answers, expected = rewritten(source, images), theirs(path, normalised(images).transpose(0, 3, 1, 2))
    assert np.allclose(answers["probabilities"], expected, atol=1e-6)
    assert np.allclose(answers["logits"], np.log(expected), atol=1e-4)


def test_one_probability_is_read_as_the_logit_before_its_sigmoid(tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx", last="Sigmoid", width=1)
    source = adopted(path, labels=("other", "moss"), answers="probabilities")
    images = pixels(tmp_path)
    answers, expected = rewritten(source, images), theirs(path, normalised(images).transpose(0, 3, 1, 2))
    assert np.allclose(answers["probabilities"][:, 1:], expected, atol=1e-6)
    assert np.array_equal(answers["logits"][:, 0], np.zeros(18, np.float32))
    assert np.allclose(answers["logits"][:, 1:], np.log(expected / (1 - expected)), atol=1e-4)


def test_one_value_between_0_and_1_is_not_guessed_at(tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx", last="Sigmoid", width=1)
    with pytest.raises(ConfigError, match="a probability, or a small logit") as caught:
        adopted(path, labels=("other", "moss"))
    assert "--answers probabilities" in str(caught.value)


def test_several_labels_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="each label has its own probability"):
        adopted(classifier(tmp_path / "model.onnx", last="Sigmoid"))


def test_a_background_class_is_left_out_when_asked_to(tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx", width=4)
    with pytest.raises(ConfigError, match="4 values for 3 labels") as caught:
        adopted(path)
    assert "--drop-first" in str(caught.value)
    source, images = adopted(path, drop_first=True), pixels(tmp_path)
    expected = theirs(path, normalised(images).transpose(0, 3, 1, 2))[:, 1:]
    assert np.allclose(rewritten(source, images)["logits"], expected, atol=1e-5)


def test_of_several_outputs_one_must_be_named(tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx", also="others")
    with pytest.raises(ConfigError, match=r"several outputs .* `answers`, `others`"):
        adopted(path)
    images = pixels(tmp_path)
    expected = theirs(path, normalised(images).transpose(0, 3, 1, 2))
    assert np.allclose(rewritten(adopted(path, output="others"), images)["logits"], -expected, atol=1e-5)
    with pytest.raises(ConfigError, match="no output `other`"):
        adopted(path, output="other")


def test_labels_that_do_not_fit_are_refused_with_the_outputs(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"no output .* has 7 values .* `answers` \(1 × 3\)"):
        adopted(classifier(tmp_path / "model.onnx"), labels=tuple("abcdefg"))


def test_another_size_than_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="height of 32, the preprocessing makes `64`"):
        adopted(classifier(tmp_path / "model.onnx"), "size = 64\n")


def test_pixels_are_not_normalised_twice(tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx", kind=TensorProto.UINT8)
    with pytest.raises(ConfigError, match="reads uint8 pixels, but the preprocessing normalises them"):
        adopted(path)


def test_a_wrong_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="32 channels in the layout nhwc"):
        adopted(classifier(tmp_path / "model.onnx"), 'size = 32\nlayout = "nhwc"\n')


def test_a_second_input_is_refused(tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx")
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("scale_factor", TensorProto.FLOAT, (1,)))
    model.graph.node[-1].input[2] = "scaled"
    model.graph.node.insert(0, helper.make_node("Mul", ["bias", "scale_factor"], ["scaled"]))
    onnx.save(model, path)
    with pytest.raises(ArtefactError, match=r"has 2 inputs: `image` \(1 × 3 × 32 × 32\), `scale_factor` \(1\)"):
        adopted(path)


def test_a_graph_that_drops_the_batch_is_refused(tmp_path: Path) -> None:
    """Its only sample is squeezed out of the batch; no other size can be had."""
    weights = constants(
        kernel=np.ones((8, 3, 3, 3), np.float32), head=np.eye(8, 3, dtype=np.float32),
        first=np.array([0], np.int64), spread=np.array([2, 3], np.int64),
    )  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["conv"]),
        helper.make_node("ReduceMean", ["conv"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Squeeze", ["mean", "first"], ["vector"]),
        helper.make_node("MatMul", ["vector", "head"], ["row"]),
        helper.make_node("Unsqueeze", ["row", "first"], ["answers"]),
    ]
    path = tmp_path / "model.onnx"
    onnx.save(model_of(nodes, weights, {"image": (1, (1, 3, 32, 32))}, {"answers": (1, 3)}), path)
    source = adopted(path)
    with pytest.raises(ArtefactError, match="batch"):
        source.network.write(tmp_path / "out.onnx", 20)


def test_the_licence_is_the_files_own_unless_said(tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx")
    assert adopted(path).origin.weights.licence == "unknown"
    model = onnx.load(path)
    helper.set_model_props(model, {"license": "AGPL-3.0"})
    onnx.save(model, path)
    assert adopted(path).origin.weights.licence == "AGPL-3.0"
    assert adopted(path, licence="Apache-2.0").origin.weights.licence == "Apache-2.0"


def test_answers_under_a_fault_are_those_of_the_wrong_input(tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx")
    source, images = adopted(path), pixels(tmp_path)
    found = source.network.under()["red and blue swapped"]({"image": images})["logits"]
    swapped = normalised(images[..., ::-1]).transpose(0, 3, 1, 2)
    assert np.allclose(found, theirs(path, swapped), atol=1e-5)
    assert not np.allclose(found, source.network.answer({"image": images})["logits"], atol=1e-2)
