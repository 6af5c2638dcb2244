"""Tiny ONNX files as other people's exporters would write them, and what adopting them takes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from PIL import Image
from tests.conftest import picture

from edgetl.types import Array

LABELS = ("amber", "moss", "slate")
SIDE = 32

Axis = int | str


def constants(**values: Array) -> list[TensorProto]:
    return [numpy_helper.from_array(value, name) for name, value in values.items()]


def model_of(
    nodes: Sequence[NodeProto],
    weights: Sequence[TensorProto],
    inputs: Mapping[str, tuple[int, Sequence[Axis]]],
    outputs: Mapping[str, Sequence[Axis] | None],
    *,
    opset: int = 17,
) -> ModelProto:
    """A checked model of opset 17; an output without a shape says none."""
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        list(weights),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def classifier(
    path: Path,
    *,
    batch: Axis = 1,
    side: Axis = SIDE,
    kind: int = TensorProto.FLOAT,
    nhwc: bool = False,
    last: str | None = None,
    width: int = 3,
    also: str | None = None,
    opset: int = 17,
) -> Path:
    """Convolution, ReLU, mean, matrix product; the batch is written into a reshape where it is fixed.

    `last`: an operator behind the logits. `also`: a second output of the same shape.
    """
    rng = np.random.default_rng(0)
    weights = constants(
        kernel=rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        head=rng.normal(0, 1.5, (8, width)).astype(np.float32),
        bias=rng.normal(0, 0.5, width).astype(np.float32),
        flat=np.array([batch if isinstance(batch, int) else -1, 8], np.int64),
    )
    first = "image"
    nodes = []
    if kind != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [first], ["floats"], to=TensorProto.FLOAT))
        weights += constants(full=np.array(255, np.float32))
        nodes.append(helper.make_node("Div", ["floats", "full"], ["parts"]))
        first = "parts"
    if nhwc:
        nodes.append(helper.make_node("Transpose", [first], ["planes"], perm=[0, 3, 1, 2]))
        first = "planes"
    nodes += [
        helper.make_node("Conv", [first, "kernel"], ["conv"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["mean"]),
        helper.make_node("Reshape", ["mean", "flat"], ["features"]),
        helper.make_node("Gemm", ["features", "head", "bias"], ["logits" if last or also else "answers"]),
    ]
    if last:
        attributes: dict[str, Any] = {"axis": 1} if last == "Softmax" else {}
        nodes.append(helper.make_node(last, ["logits"], ["answers"], **attributes))
    elif also:
        nodes += [helper.make_node("Identity", ["logits"], ["answers"]), helper.make_node("Neg", ["logits"], [also])]
    shape = (batch, side, side, 3) if nhwc else (batch, 3, side, side)
    outputs: dict[str, Sequence[Axis] | None] = dict.fromkeys(("answers", *([also] if also else [])), (batch, width))
    onnx.save(model_of(nodes, weights, {"image": (kind, shape)}, outputs, opset=opset), path)
    return path


def detector(path: Path, *, layout: str, labels: int = 3, batch: Axis = 1, fractions: bool = False) -> Path:
    """One convolution with a step of 8 pixels, so 16 places, each with a box and scores in a layout's form."""
    rng = np.random.default_rng(2)
    columns = labels + 1 if layout in ("yolov5", "detr-softmax") else labels
    weights = constants(
        kernel=rng.normal(0, 0.15, (4 + columns, 3, 8, 8)).astype(np.float32),
        rows=np.array([batch if isinstance(batch, int) else -1, 4 + columns, 16], np.int64),
        four=np.array([4, columns], np.int64),
        side=np.array(1 if fractions or layout.startswith("detr") else SIDE, np.float32),
        half=np.array(0.5, np.float32),
    )
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["conv"], strides=[8, 8]),
        helper.make_node("Reshape", ["conv", "rows"], ["raw"]),
        helper.make_node("Split", ["raw", "four"], ["raw_boxes", "raw_scores"], axis=1),
        helper.make_node("Sigmoid", ["raw_boxes"], ["part"]),
        helper.make_node("Mul", ["part", "side"], ["boxes"]),
        helper.make_node("Sigmoid", ["raw_scores"], ["scores"]),
    ]
    turned = [
        helper.make_node("Transpose", [name], [f"{name}_last"], perm=[0, 2, 1])
        for name in ("boxes", "scores", "raw_scores")
    ]
    outputs: Mapping[str, Sequence[Axis] | None]
    if layout == "yolov8":
        nodes.append(helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1))
        outputs = {"output0": (batch, 4 + columns, 16)}
    elif layout == "yolov5":
        nodes += [*turned[:2], helper.make_node("Concat", ["boxes_last", "scores_last"], ["output0"], axis=2)]
        outputs = {"output0": (batch, 16, 4 + columns)}
    elif layout in ("detr", "detr-softmax"):
        nodes += [turned[0], turned[2], helper.make_node("Identity", ["boxes_last"], ["pred_boxes"]),
                  helper.make_node("Identity", ["raw_scores_last"], ["logits"])]  # fmt: skip
        outputs = {"logits": (batch, 16, columns), "pred_boxes": (batch, 16, 4)}
    else:
        nodes += [*turned[:2], *_corners(weights), *_ENDS[layout](weights)]
        outputs = _OUTPUTS[layout](batch, columns)
    onnx.save(model_of(nodes, weights, {"images": (TensorProto.FLOAT, (batch, 3, SIDE, SIDE))}, outputs), path)
    return path


def _corners(weights: list[TensorProto]) -> list[NodeProto]:
    weights += constants(pair=np.array([2, 2], np.int64))
    return [
        helper.make_node("Split", ["boxes_last", "pair"], ["centre", "size"], axis=2),
        helper.make_node("Mul", ["size", "half"], ["halved"]),
        helper.make_node("Sub", ["centre", "halved"], ["start"]),
        helper.make_node("Add", ["centre", "halved"], ["end"]),
        helper.make_node("Concat", ["start", "end"], ["corners"], axis=2),
    ]


def _end2end(weights: list[TensorProto]) -> list[NodeProto]:
    return [
        helper.make_node("ReduceMax", ["scores_last"], ["best"], axes=[2], keepdims=1),
        helper.make_node("ArgMax", ["scores_last"], ["which"], axis=2, keepdims=1),
        helper.make_node("Cast", ["which"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["corners", "best", "number"], ["output0"], axis=2),
    ]


_ENDS: dict[str, Callable[[list[TensorProto]], list[NodeProto]]] = {
    "end2end": _end2end,
    "boxes-scores": lambda weights: [
        helper.make_node("Identity", ["corners"], ["out_boxes"]),
        helper.make_node("Identity", ["scores_last"], ["out_scores"]),
    ],
}
_OUTPUTS: dict[str, Callable[[Axis, int], dict[str, Sequence[Axis]]]] = {
    "end2end": lambda batch, columns: {"output0": (batch, 16, 6)},
    "boxes-scores": lambda batch, columns: {"out_boxes": (batch, 16, 4), "out_scores": (batch, 16, columns)},
}


def photos(folder: Path, count: int = 6, *, labelled: bool = True) -> Path:
    """`count` pictures of each of three kinds, in class folders or all in one."""
    rng = np.random.default_rng(3)
    for kind, label in enumerate(LABELS):
        place = folder / label if labelled else folder
        place.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            picture(rng, kind).resize((40, 36), Image.Resampling.BILINEAR).save(place / f"{label}{i}.png")
    return folder


def said(folder: Path, text: str, labels: Sequence[str] = LABELS) -> dict[str, Any]:
    """preprocess.toml and labels.txt in `folder`, as fields of a configuration."""
    (folder / "preprocess.toml").write_text(text)
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    return {"labels": str(folder / "labels.txt"), "preprocess": str(folder / "preprocess.toml")}
