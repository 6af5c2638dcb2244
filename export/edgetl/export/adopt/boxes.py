"""The layouts of detectors as a graph: what `layouts` reads in numpy, in ONNX's own operators."""

from collections.abc import Callable

import numpy as np
from onnx import GraphProto

from edgetl.export.adopt.layouts import Layout
from edgetl.export.adopt.nodes import FLOAT, Nodes

END = 2**31 - 1
"""Beyond the end of any axis."""


def attach_boxes(
    layout: Layout, graph: GraphProto, boxes: str, scores: str, *, labels: int, size: tuple[int, int]
) -> None:
    """Puts `boxes` (batch, rows, 4) in pixels of an input of `size` (width, height) and `scores` (batch, rows, labels)
    behind the tensors of these names.
    """
    nodes = Nodes(graph)
    if layout.columns_first:
        boxes = scores = nodes.add("Transpose", [boxes], "rows", perm=[0, 2, 1])
    if layout.outputs == 1:
        boxes, scores = nodes.cut(boxes, "places", 0, 4, 2), nodes.cut(scores, "columns", 4, END, 2)
    boxes = _corners(nodes, boxes) if layout.box == "centre" else boxes
    if layout.fractions:
        boxes = nodes.add("Mul", [boxes, nodes.constant("size", size * 2)], "in_pixels")
    nodes.add("Identity", [boxes], "boxes")
    nodes.add("Identity", [SCORES[layout.scores](nodes, scores, labels)], "scores")
    nodes.put_last()


def _corners(nodes: Nodes, boxes: str) -> str:
    centre, size = nodes.cut(boxes, "centres", 0, 2, 2), nodes.cut(boxes, "sizes", 2, 4, 2)
    half = nodes.add("Mul", [size, nodes.constant("half", 0.5)], "halves")
    ends = [nodes.add(operator, [centre, half], name) for operator, name in (("Sub", "starts"), ("Add", "ends"))]
    return nodes.add("Concat", ends, "corners", axis=2)


def _plain(nodes: Nodes, columns: str, labels: int) -> str:
    return columns


def _objectness(nodes: Nodes, columns: str, labels: int) -> str:
    own, all_labels = nodes.cut(columns, "objectness", 0, 1, 2), nodes.cut(columns, "conditional", 1, END, 2)
    return nodes.add("Mul", [own, all_labels], "joint")


def _numbered(nodes: Nodes, columns: str, labels: int) -> str:
    score, number = nodes.cut(columns, "score", 0, 1, 2), nodes.cut(columns, "number", 1, 2, 2)
    every = nodes.constant("every", np.arange(labels).reshape(1, 1, labels))
    meant = nodes.add("Equal", [nodes.add("Round", [number], "whole_number"), every], "meant")
    return nodes.add("Mul", [score, nodes.add("Cast", [meant], "one_of_all", to=FLOAT)], "of_each")


def _sigmoid(nodes: Nodes, columns: str, labels: int) -> str:
    return nodes.add("Sigmoid", [columns], "likely")


def _softmax(nodes: Nodes, columns: str, labels: int) -> str:
    return nodes.cut(nodes.add("Softmax", [columns], "likely", axis=2), "of_labels", 0, labels, 2)


SCORES: dict[str, Callable[[Nodes, str, int], str]] = {
    "plain": _plain,
    "objectness": _objectness,
    "number": _numbered,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
}
