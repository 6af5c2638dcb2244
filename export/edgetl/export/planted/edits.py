"""Graphs with one fault each, as a buggy exporter or a careless hand would leave them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgetl.files import write_bytes
from edgetl.tasks.normalisation import Normalisation, normalisation
from edgetl.types import Array

Edit = Callable[[onnx.ModelProto], None]

BLOCK = 4096
"""Bytes of a weight tensor that a bad sector takes."""


def swap_red_and_blue(model: onnx.ModelProto) -> None:
    """The graph reads BGR."""
    _gather_first(model, axis=3, order=[2, 1, 0])


def mean_and_std_of_a_half(model: onnx.ModelProto) -> None:
    """The normalisation of another library."""
    _set_normalisation(model, normalisation((0.5,) * 3, (0.5,) * 3))


def mean_and_std_of_imagenet(model: onnx.ModelProto) -> None:
    """The normalisation of torchvision where the network was trained with another."""
    _set_normalisation(model, normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def pixels_not_divided(model: onnx.ModelProto) -> None:
    """0–255 pixels where 0–1 was meant."""
    for name, factor in (("scale", 255.0), ("shift", 1.0)):
        _set(model, name, _initializer(model, name) * factor)


def exchange_first_outputs(model: onnx.ModelProto) -> None:
    """Outputs 0 and 1 of the last layer change places."""
    for name in _head(model):
        values = _initializer(model, name).copy()
        values[[0, 1]] = values[[1, 0]]
        _set(model, name, values)


def kill_last_class(model: onnx.ModelProto) -> None:
    """The last output no longer sees anything and is always far below the others."""
    weight, bias = _head(model)
    for name, dead in ((weight, 0.0), (bias, float(_initializer(model, bias).min()) - 10)):
        values = _initializer(model, name).copy()
        values[-1] = dead
        _set(model, name, values)


def round_to_bf16(model: onnx.ModelProto) -> None:
    """Every weight keeps the 8 leading bits of its mantissa."""
    for item in list(model.graph.initializer):
        if item.data_type == onnx.TensorProto.FLOAT:
            bits = numpy_helper.to_array(item).astype(np.float32).view(np.uint32) + 0x8000
            _set(model, item.name, (bits & 0xFFFF0000).view(np.float32))


def another_head(model: onnx.ModelProto) -> None:
    """The classifier of a model that was trained otherwise: same shapes, other weights."""
    weight = _head(model)[0]
    values = _initializer(model, weight)
    _set(model, weight, values[:, np.random.default_rng(0).permutation(values.shape[1])])


def halve_before_softmax(model: onnx.ModelProto) -> None:
    """The temperature is lost, or another one is applied."""
    node = next(node for node in model.graph.node if node.op_type == "Softmax")
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "planted_factor"))
    scaled = helper.make_node("Mul", [node.input[0], "planted_factor"], ["planted_scaled"], name="planted")
    model.graph.node.insert(list(model.graph.node).index(node), scaled)
    node.input[0] = "planted_scaled"


def boxes_as_sizes(model: onnx.ModelProto) -> None:
    """Left, top, width and height where left, top, right and bottom belong."""
    matrix = np.eye(4, dtype=np.float32)
    matrix[[0, 1], [2, 3]] = -1
    _behind(model, "boxes", "MatMul", matrix)


def boxes_moved(model: onnx.ModelProto) -> None:
    """As if the bars of the letterbox had not been there: everything lies an eighth of the width further left."""
    width = next(value for value in model.graph.input if value.name == "image").type.tensor_type.shape.dim[2].dim_value
    _behind(model, "boxes", "Sub", np.array([width / 8, 0, width / 8, 0], np.float32))


def classes_shifted(model: onnx.ModelProto) -> None:
    """Each class's scores are given as the next one's, as when a background class is counted or is not."""
    scores = next(value for value in model.graph.output if value.name == "scores")
    labels = scores.type.tensor_type.shape.dim[2].dim_value
    _behind(model, "scores", "MatMul", np.roll(np.eye(labels, dtype=np.float32), 1, axis=1))


def _behind(model: onnx.ModelProto, output: str, operator: str, constant: Array) -> None:
    """Puts an operation with a constant between what makes an output and the output."""
    name = f"planted_{output}"
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, each in enumerate(names):
                if each == output:
                    names[i] = name
    model.graph.initializer.append(numpy_helper.from_array(constant, f"{name}_constant"))
    model.graph.node.append(helper.make_node(operator, [name, f"{name}_constant"], [output], name=f"{name}_node"))


def ignore_mask(model: onnx.ModelProto) -> None:
    """Padding is read as if it were words: the mask is replaced by ones of its shape."""
    one = numpy_helper.from_array(np.ones(1, np.int64))
    shape = helper.make_node("Shape", ["mask"], ["planted_shape"], name="planted_shape")
    ones = helper.make_node("ConstantOfShape", ["planted_shape"], ["planted_mask"], name="planted_mask", value=one)
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == "mask":
                node.input[i] = "planted_mask"
    model.graph.node.insert(0, ones)
    model.graph.node.insert(0, shape)


def corrupt_file(path: Path) -> None:
    """In the middle of an ONNX file's largest tensor, a block's bytes come in reverse order."""
    model = onnx.load(path)
    largest = max(model.graph.initializer, key=lambda item: len(item.raw_data))
    largest.raw_data = reverse_block(largest.raw_data)
    write_bytes(path, model.SerializeToString())


def reverse_block(content: bytes) -> bytes:
    """`content` with one block in its middle reversed."""
    start = max(0, len(content) // 2 - BLOCK // 2)
    block = content[start : start + BLOCK]
    return content[:start] + block[::-1] + content[start + len(block) :]


def _head(model: onnx.ModelProto) -> tuple[str, str]:
    """Names of weight (labels, features) and bias (labels,) of the last matrix product."""
    gemm = next(node for node in reversed(model.graph.node) if node.op_type == "Gemm")
    return gemm.input[1], gemm.input[2]


def _set_normalisation(model: onnx.ModelProto, wrong: Normalisation) -> None:
    for name, values in (("scale", wrong.scale), ("shift", wrong.shift)):
        _set(model, name, np.array(values, np.float32).reshape(1, 3, 1, 1))


def _initializer(model: onnx.ModelProto, name: str) -> Array:
    return np.asarray(numpy_helper.to_array(next(item for item in model.graph.initializer if item.name == name)))


def _set(model: onnx.ModelProto, name: str, values: Array) -> None:
    initializer = next(item for item in model.graph.initializer if item.name == name)
    initializer.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))


def _gather_first(model: onnx.ModelProto, *, axis: int, order: list[int]) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(order, np.int64), "planted_order"))
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == "image":
                node.input[i] = "planted_image"
    gather = helper.make_node("Gather", ["image", "planted_order"], ["planted_image"], name="planted", axis=axis)
    model.graph.node.insert(0, gather)
