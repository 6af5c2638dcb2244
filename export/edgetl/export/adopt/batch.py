"""Makes the batch of a graph dynamic that was written down for one size: constants that repeat it follow it instead.

Only what the shapes prove is changed; whether the graph then computes the same is for the comparison to say.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from edgetl.errors import ArtefactError
from edgetl.export.adopt.growth import Growth, Shape, grow, without_weights
from edgetl.types import Array


def free_batch(model: ModelProto, inputs: Callable[[int], Mapping[str, Shape]], size: int) -> int:
    """Rewrites the nodes that hold `size`, the batch of the file, as a constant; how many there were.

    `inputs`: the shapes of the graph's inputs for a batch. Raises ArtefactError for a node that cannot follow another.
    """
    light = without_weights(model)
    known = len(light.graph.initializer)
    mended = 0
    while (stuck := _first_stuck(light.graph, growth := grow(light, inputs, size))) is not None:
        if mended > len(model.graph.node) or not MENDS[stuck.op_type](light.graph, stuck, growth):
            raise ArtefactError(
                f"the batch of the model is fixed at {size}: `{stuck.name}` ({stuck.op_type}) cannot follow another",
                hint="export it with a dynamic batch",
            )
        mended += 1
    if mended:
        del model.graph.node[:]
        model.graph.node.extend(light.graph.node)
        model.graph.initializer.extend(list(light.graph.initializer)[known:])
    return mended


def _first_stuck(graph: GraphProto, growth: Growth) -> NodeProto | None:
    """The first node whose data grows with the batch while a constant of it does not."""
    return next((node for node in graph.node if node.op_type in MENDS and _stuck(graph, node, growth)), None)


def _stuck(graph: GraphProto, node: NodeProto, growth: Growth) -> bool:
    if node.op_type == "Concat":
        return any(map(growth.grows, node.input)) and any(map(growth.stays, node.input))
    data, answer, position = node.input[0], node.output[0], 3 if node.op_type == "Resize" else 1
    if len(node.input) <= position or _constant(graph, node.input[position]) is None:
        return False
    if not growth.grows(data) or answer not in growth.many:
        return False
    if node.op_type == "Reshape":
        return math.prod(growth.many[data]) != math.prod(growth.many[answer]) or _swallowed(graph, node, growth)
    return growth.stays(answer)


def _swallowed(graph: GraphProto, node: NodeProto, growth: Growth) -> bool:
    """Whether the axis left open takes in the batch, because the batch's own names the file's."""
    said, place = _constant(graph, node.input[1]), _place(node, growth)
    return said is not None and place is not None and -1 in said and said[place] == growth.size


def _reshape(graph: GraphProto, node: NodeProto, growth: Growth) -> bool:
    """The axis that holds the batch becomes -1, and all others what they are.

    A reshape keeps how many values lie inside the batch and outside it, which finds the axis.
    """
    place = _place(node, growth)
    if place is None:
        return False
    before, after = growth.one[node.input[0]], growth.one[node.output[0]]
    said = _constant(graph, node.input[1])
    shape = [_copied(i, before, after, said) for i in range(len(after))]
    shape[place] = -1
    _replace(graph, node, 1, shape)
    return True


def _place(node: NodeProto, growth: Growth) -> int | None:
    """The axis of a reshape's output that must hold the batch."""
    before, after = growth.one[node.input[0]], growth.one.get(node.output[0])
    axis = growth.axis(node.input[0])
    if after is None or axis is None or math.prod(before) != math.prod(after):
        return None
    outer, inner = growth.around(node.input[0], axis)
    places = [place for place in range(len(after)) if _holds(after, place, outer, inner, growth.size)]
    # several fit where the batch is 1: features come last, and little comes before the batch in its own axis
    places.sort(key=lambda place: (place == len(after) - 1, outer // math.prod(after[:place])))
    return places[0] if places else None


def _holds(shape: Shape, place: int, outer: int, inner: int, size: int) -> bool:
    """Whether the batch lies in the axis `place`, perhaps beside parts of the values around it."""
    without, within = math.prod(shape[:place]), math.prod(shape[place + 1 :])
    whole = without > 0 and within > 0 and outer % without == 0 and inner % within == 0
    return whole and shape[place] == outer // without * size * (inner // within)


def _copied(place: int, before: Shape, after: Shape, said: Array | None) -> int:
    """0, which copies the axis, where the file left it open: a length may be another each time."""
    left_open = said is not None and said[place] <= 0
    return 0 if left_open and place < len(before) and before[place] == after[place] else after[place]


def _resize(graph: GraphProto, node: NodeProto, growth: Growth) -> bool:
    """Its sizes become factors, where these are whole."""
    before, after = growth.one[node.input[0]], growth.one.get(node.output[0])
    if after is None or len(before) != len(after) or any(to % of for of, to in zip(before, after, strict=True)):
        return False
    factors = [to // of for of, to in zip(before, after, strict=True)]
    del node.input[3:]
    node.input[2] = _new(graph, np.array(factors, np.float32))
    return True


def _expand(graph: GraphProto, node: NodeProto, growth: Growth) -> bool:
    """1 leaves an axis as long as it is."""
    axis, shape = growth.axis(node.input[0]), _constant(graph, node.input[1])
    if axis is None or shape is None or len(shape) != len(growth.one[node.input[0]]):
        return False
    shape[axis] = 1
    _replace(graph, node, 1, shape.tolist())
    return True


def _concat(graph: GraphProto, node: NodeProto, growth: Growth) -> bool:
    """What has one row is repeated as often as the batch is long, which another input knows."""
    grown = next(filter(growth.grows, node.input))
    axis = growth.axis(grown)
    lagging = list(filter(growth.stays, node.input))
    joined = next(int(attribute.i) for attribute in node.attribute if attribute.name == "axis")
    if axis is None or joined % len(growth.one[grown]) == axis or any(growth.one[name][axis] != 1 for name in lagging):
        return False
    place = list(graph.node).index(node)
    for name in lagging:
        repeated = _repeated(graph, f"{node.name}/{name}", name, growth.one[name], axis, grown)
        node.input[list(node.input).index(name)] = repeated[-1].output[0]
        for each in reversed(repeated):
            graph.node.insert(place, each)
    return True


def _repeated(graph: GraphProto, base: str, name: str, shape: Shape, axis: int, like: str) -> list[NodeProto]:
    """Nodes that make `name` as long as `like` along `axis`."""
    start, end = (_new(graph, np.array([place], np.int64)) for place in (axis, axis + 1))
    before, after = (_new(graph, np.array(part, np.int64)) for part in (shape[:axis], shape[axis + 1 :]))
    steps: tuple[tuple[str, list[str], str, dict[str, Any]], ...] = (
        ("Shape", [like], "shape", {}),
        ("Slice", [f"{base}/shape", start, end], "batch", {}),
        ("Concat", [before, f"{base}/batch", after], "wanted", {"axis": 0}),
        ("Expand", [name, f"{base}/wanted"], "rows", {}),
    )
    return [
        helper.make_node(operator, inputs, [f"{base}/{output}"], name=f"{base}/{operator}", **attributes)
        for operator, inputs, output, attributes in steps
    ]


MENDS: dict[str, Callable[[GraphProto, NodeProto, Growth], bool]] = {
    "Reshape": _reshape,
    "Resize": _resize,
    "Expand": _expand,
    "Concat": _concat,
}


def _constant(graph: GraphProto, name: str) -> Array | None:
    """The values of a constant, whether it is an initialiser or a node."""
    for tensor in graph.initializer:
        if tensor.name == name:
            return np.array(numpy_helper.to_array(tensor))
    for node in graph.node:
        if node.op_type == "Constant" and node.output[0] == name:
            return np.array(numpy_helper.to_array(node.attribute[0].t))
    return None


def _replace(graph: GraphProto, node: NodeProto, position: int, values: list[int]) -> None:
    node.input[position] = _new(graph, np.array(values, np.int64))


def _new(graph: GraphProto, values: Array) -> str:
    name = f"batch/{len(graph.initializer)}"
    graph.initializer.append(numpy_helper.from_array(values, name))
    return name
