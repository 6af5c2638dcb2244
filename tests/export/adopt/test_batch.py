"""Graphs that were written down for one batch follow any: the constants in them do."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import NodeProto, TensorProto, helper
from tests.export.adopt.files import constants, model_of

from edgetl.errors import ArtefactError
from edgetl.export.adopt.batch import free_batch
from edgetl.types import Array

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(0, 0.3, (8, 3, 4, 4)).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def heads(batch: int) -> tuple[Sequence[NodeProto], dict[str, Array]]:
    """Attention over 16 places with two heads, the places in front of the batch, as torch's layer has it."""
    nodes = [
        helper.make_node("Reshape", ["conv", "rows"], ["flat"], name="rows"),
        helper.make_node("Transpose", ["flat"], ["places"], name="t1", perm=[2, 0, 1]),
        helper.make_node("Reshape", ["places", "split"], ["apart"], name="apart"),
        helper.make_node("Transpose", ["apart"], ["keys"], name="t2", perm=[1, 0, 2]),
        helper.make_node("Transpose", ["apart"], ["turned"], name="t3", perm=[1, 2, 0]),
        helper.make_node("MatMul", ["keys", "turned"], ["scores"], name="scores"),
        helper.make_node("Softmax", ["scores"], ["weights"], name="softmax", axis=2),
        helper.make_node("MatMul", ["weights", "keys"], ["seen"], name="seen"),
        helper.make_node("Transpose", ["seen"], ["back"], name="t4", perm=[1, 0, 2]),
        helper.make_node("Reshape", ["back", "together"], ["merged"], name="merged"),
        helper.make_node("MatMul", ["merged", "mix"], ["mixed"], name="mixed"),
        helper.make_node("Reshape", ["mixed", "again"], ["answers3"], name="again"),
        helper.make_node("Transpose", ["answers3"], ["answers"], name="t5", perm=[1, 0, 2]),
    ]
    return nodes, {
        "rows": ints(batch, 8, 16), "split": ints(16, batch * 2, 4), "together": ints(16 * batch, 8),
        "mix": RNG.normal(size=(8, 5)).astype(np.float32), "again": ints(16, batch, 5),
    }  # fmt: skip


def token(batch: int) -> tuple[Sequence[NodeProto], dict[str, Array]]:
    """A learned row in front of the others, as vision transformers have it."""
    nodes = [
        helper.make_node("Reshape", ["conv", "rows"], ["flat"], name="rows"),
        helper.make_node("Concat", ["first", "flat"], ["answers"], name="concat", axis=2),
    ]
    return nodes, {"rows": ints(batch, 8, -1), "first": RNG.normal(size=(1, 8, 1)).astype(np.float32)}


def enlarged(batch: int) -> tuple[Sequence[NodeProto], dict[str, Array]]:
    """Enlarged to sizes that name the batch, and a row repeated to a shape that does."""
    nodes = [
        helper.make_node("Resize", ["conv", "", "", "sizes"], ["large"], name="resize", mode="nearest"),
        helper.make_node("GlobalAveragePool", ["large"], ["mean"], name="mean"),
        helper.make_node("Expand", ["mean", "wide"], ["wider"], name="expand"),
        helper.make_node("Add", ["large", "wider"], ["answers"], name="add"),
    ]
    return nodes, {"sizes": ints(batch, 8, 8, 8), "wide": ints(batch, 8, 8, 8)}


@pytest.mark.parametrize(("made", "batch"), [(heads, 1), (heads, 2), (token, 1), (enlarged, 1)])
def test_any_batch_answers_as_one_sample_does(made: object, batch: int, tmp_path: Path) -> None:
    nodes, weights = made(batch)  # type: ignore[operator]
    conv = helper.make_node("Conv", ["image", "kernel"], ["conv"], name="conv", strides=[4, 4])
    inputs = {"image": (int(TensorProto.FLOAT), (batch, 3, 16, 16))}
    model = model_of([conv, *nodes], constants(kernel=KERNEL, **weights), inputs, {"answers": None})
    images = RNG.normal(size=(6, 3, 16, 16)).astype(np.float32)
    session = ort.InferenceSession(model.SerializeToString())
    expected = [session.run(None, {"image": images[i : i + batch]})[0] for i in range(0, 6, batch)]
    assert free_batch(model, lambda size: {"image": (size, 3, 16, 16)}, batch) > 0
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    found = ort.InferenceSession(model.SerializeToString()).run(None, {"image": images})[0]
    assert np.allclose(found, np.concatenate(expected), atol=1e-5)


def test_a_dynamic_graph_stays_as_it_is() -> None:
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["conv"], name="conv", strides=[4, 4]),
        helper.make_node("Flatten", ["conv"], ["flat"], name="flat"),
        helper.make_node("Reshape", ["flat", "rows"], ["answers"], name="rows"),
    ]
    inputs = {"image": (int(TensorProto.FLOAT), ("N", 3, 16, 16))}
    model = model_of(nodes, constants(kernel=KERNEL, rows=ints(-1, 8, 16)), inputs, {"answers": None})
    before = [node.SerializeToString() for node in model.graph.node]
    assert free_batch(model, lambda size: {"image": (size, 3, 16, 16)}, 1) == 0
    assert [node.SerializeToString() for node in model.graph.node] == before


def test_a_node_that_cannot_follow_is_named() -> None:
    """Three rows of constants beside a batch of one: nobody knows what a fourth photo should find there."""
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["conv"], name="conv", strides=[4, 4]),
        helper.make_node("Concat", ["conv", "rows"], ["answers"], name="memory", axis=0),
    ]
    rows = RNG.normal(size=(3, 8, 4, 4)).astype(np.float32)
    inputs = {"image": (int(TensorProto.FLOAT), (1, 3, 16, 16))}
    model = model_of(nodes, constants(kernel=KERNEL, rows=rows), inputs, {"answers": None})
    with pytest.raises(ArtefactError, match=r"fixed at 1: `memory` \(Concat\) cannot follow") as caught:
        free_batch(model, lambda size: {"image": (size, 3, 16, 16)}, 1)
    assert "dynamic batch" in str(caught.value)
