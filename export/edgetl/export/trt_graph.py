"""The rewrites that make an ONNX graph what TensorRT wants: types at the input, Q/DQ at the layers, scales in fp16."""

from collections import Counter

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgetl.export.quantisation.layers import COMPUTE

MOVES = ("Transpose", "Slice", "Gather", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Concat", "Split", "Identity")
"""They move pixels without a look at them, so a cast may pass them."""


def cast_first(model: ModelProto) -> None:
    """Casts a uint8 input to float32 before anything else; TensorRT knows uint8 only at a network's border.

    torch writes transpose (and the flip of the channels) before the cast, which gives the same numbers.
    """
    graph = model.graph
    inputs = [value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8]
    for name in inputs:
        renamed = {name: f"{name}.float"}
        nodes = [helper.make_node("Cast", [name], [renamed[name]], name=f"{name}.cast", to=TensorProto.FLOAT)]
        moved = {renamed[name]}
        for node in graph.node:
            for position, source in enumerate(node.input):
                node.input[position] = renamed.get(source, source)
            reached = any(source in moved for source in node.input)
            if reached and _casts_to_float(node):
                renamed[node.output[0]] = node.input[0]
                continue
            if reached and node.op_type in MOVES:
                moved.update(node.output)
            nodes.append(node)
        kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:], graph.value_info[:]
        graph.node.extend(kept)


def _casts_to_float(node: NodeProto) -> bool:
    return node.op_type == "Cast" and helper.get_node_attr_value(node, "to") == TensorProto.FLOAT


def in_order(model: ModelProto) -> None:
    """Sorts the nodes so that each comes after what it reads; the quantiser puts its own at the end.

    Also drops the operator sets that no node is of.
    """
    graph = model.graph
    made_by = {name: index for index, node in enumerate(graph.node) for name in node.output}
    placed: dict[int, NodeProto] = {}
    waiting = list(reversed(range(len(graph.node))))
    while waiting:
        index = waiting[-1]
        before = [made_by[name] for name in graph.node[index].input if name in made_by]
        missing = [source for source in before if source not in placed]
        waiting.extend(missing)
        if not missing:
            placed.setdefault(waiting.pop(), graph.node[index])
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in placed.values()]
    del graph.node[:]
    graph.node.extend(nodes)
    for entry in [e for e in model.opset_import if e.domain and e.domain not in {node.domain for node in nodes}]:
        model.opset_import.remove(entry)


def quantise_layer_inputs_only(model: ModelProto) -> None:
    """Drops Q/DQ pairs that feed no compute layer, and takes other readers back to the value before the pair.

    Quantise the inputs of layers, not their outputs: then TensorRT fuses a layer with the activation behind it.
    Source: "Working with Quantized Types", Q/DQ placement recommendations, in TensorRT's documentation.
    """
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    before = {
        node.output[0]: made_by[node.input[0]].input[0]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in made_by
    }
    for node in graph.node:
        if node.op_type in COMPUTE:
            continue
        for position, name in enumerate(node.input):
            while name in before:  # a pair may read what another pair wrote
                name = before[name]
            node.input[position] = name
    _drop_unread(model)


def _drop_unread(model: ModelProto) -> None:
    """Removes Q and DQ nodes whose output nobody reads, and the constants that only they read."""
    graph = model.graph
    outputs = {value.name for value in graph.output}
    while True:
        read = Counter(name for node in graph.node for name in node.input)
        idle = [
            node
            for node in graph.node
            if node.op_type in ("QuantizeLinear", "DequantizeLinear")
            and not any(read[name] or name in outputs for name in node.output)
        ]
        if not idle:
            break
        for node in idle:
            graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if not read[tensor.name]]:
        graph.initializer.remove(tensor)


def half_scales(model: ModelProto) -> None:
    """Rounds the scales of int8 weights up to fp16, and the weights to the new scales.

    Folding batch normalisation leaves channels of nearly nothing, whose scale (1e-12, say) fp16 would turn into 0.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants or node.input[1] not in constants:
            continue
        weight, scale = constants[node.input[0]], constants[node.input[1]]
        old = numpy_helper.to_array(scale)
        new = old.astype(np.float16)
        new = np.where(new.astype(np.float32) < old, np.nextafter(new, np.float16(np.inf)), new).astype(np.float32)
        values = numpy_helper.to_array(weight)
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        shape = [-1 if i == axis % values.ndim else 1 for i in range(values.ndim)] if old.ndim else []
        rounded = np.round(values * (old / new).reshape(shape)).astype(values.dtype)
        weight.CopyFrom(numpy_helper.from_array(rounded, weight.name))
        scale.CopyFrom(numpy_helper.from_array(new, scale.name))
