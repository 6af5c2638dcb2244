"""Any file can be named: what cannot be carried on is refused with its reason, and nothing outside is read."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.export.adopt.files import classifier, constants, model_of

from edgetl.errors import ArtefactError
from edgetl.export.adopt.original import Original
from edgetl.export.adopt.reading import read_model

ONE = {"image": np.linspace(-1, 1, 3 * 32 * 32, dtype=np.float32).reshape(1, 3, 32, 32)}


def external(path: Path, location: str) -> Path:
    """The classifier with its kernel in another file."""
    classifier(path)
    model = onnx.load(path)
    kernel = next(tensor for tensor in model.graph.initializer if tensor.name == "kernel")
    (path.parent / "weights.bin").write_bytes(kernel.raw_data)
    kernel.ClearField("raw_data")
    kernel.data_location = TensorProto.EXTERNAL
    entry = kernel.external_data.add()
    entry.key, entry.value = "location", location
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    plain = read_model(classifier(tmp_path / "plain.onnx"))
    read = read_model(external(tmp_path / "model.onnx", "weights.bin"))
    wanted, found = (numpy_helper.to_array(each.graph.initializer[0]) for each in (plain, read))
    assert np.array_equal(found, wanted) and found.shape == (8, 3, 3, 3)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "sub/../../weights.bin"])
def test_weights_outside_the_folder_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    with pytest.raises(ArtefactError, match="outside its folder"):
        read_model(external(tmp_path / "inner" / "model.onnx", location))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    path = external(tmp_path / "inner" / "model.onnx", "linked.bin")
    (tmp_path / "inner" / "weights.bin").rename(tmp_path / "weights.bin")
    (tmp_path / "inner" / "linked.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(ArtefactError, match="outside its folder"):
        read_model(path)


def test_weights_that_were_not_copied_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"`kernel` in `gone\.bin`, which is not there"):
        read_model(external(tmp_path / "model.onnx", "gone.bin"))


def test_weights_cut_short_are_an_error(tmp_path: Path) -> None:
    path = external(tmp_path / "model.onnx", "weights.bin")
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(ArtefactError):
        read_model(path)


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"not an onnx file at all", bytes(range(256)) * 4])
def test_what_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ArtefactError, match="is no ONNX file"):
        read_model(tmp_path / "model.onnx")


def test_an_old_opset_is_lifted_and_answers_the_same(tmp_path: Path) -> None:
    old = classifier(tmp_path / "old.onnx", last="Softmax", opset=11)
    lifted = read_model(old)
    onnx.save(lifted, tmp_path / "lifted.onnx")
    assert lifted.opset_import[0].version == 17
    before, after = (Original(path).run(ONE)["answers"] for path in (old, tmp_path / "lifted.onnx"))
    assert np.allclose(after, before, atol=1e-6)


def test_operators_of_one_engine_are_named(tmp_path: Path) -> None:
    model = onnx.load(classifier(tmp_path / "model.onnx", last="Relu"))
    model.graph.node[-1].op_type, model.graph.node[-1].domain = "Gelu", "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ArtefactError, match=r"`com\.microsoft\.Gelu`"):
        read_model(tmp_path / "model.onnx")


def test_a_model_in_half_precision_is_no_reference(tmp_path: Path) -> None:
    model = onnx.load(classifier(tmp_path / "model.onnx"))
    half = numpy_helper.from_array(np.zeros((8, 3, 3, 3), np.float16), "kernel")
    model.graph.initializer[0].CopyFrom(half)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ArtefactError, match="float16"):
        read_model(tmp_path / "model.onnx")


def test_a_quantised_model_is_refused(tmp_path: Path) -> None:
    weights = constants(scale=np.array(0.1, np.float32), zero=np.array(0, np.uint8))
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["small"]),
        helper.make_node("DequantizeLinear", ["small", "scale", "zero"], ["answers"]),
    ]
    onnx.save(model_of(nodes, weights, {"image": (1, (1, 3))}, {"answers": (1, 3)}), tmp_path / "model.onnx")
    with pytest.raises(ArtefactError, match="quantised already"):
        read_model(tmp_path / "model.onnx")


def test_what_has_no_layers_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["image"], ["answers"])]
    onnx.save(model_of(nodes, [], {"image": (1, (1, 3))}, {"answers": (1, 3)}), tmp_path / "model.onnx")
    with pytest.raises(ArtefactError, match="no convolution and no matrix product"):
        read_model(tmp_path / "model.onnx")


def test_more_than_one_file_can_hold_is_refused_unread(tmp_path: Path) -> None:
    path = external(tmp_path / "model.onnx", "weights.bin")
    with (tmp_path / "weights.bin").open("r+b") as stream:
        stream.truncate(3 * 2**30)  # sparse: takes no room
    with pytest.raises(ArtefactError, match=r"3\.0 GiB of weights"):
        read_model(path)
