"""Names for nodes and tensors of an exported graph that a person recognises: the torch module, then the operator."""

import ast
from collections import Counter

import onnx
from onnx import GraphProto, ModelProto, NodeProto

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter writes the module path of a node, from the root to the operation."""


def rename(model: ModelProto) -> None:
    """Node and output of a node: `model.features.0.0/Conv`; a constant: its node and the operator's name for it.

    Parameters keep their names in the module; so do inputs and outputs of the graph. The names follow from the
    order of the nodes alone. A graph without the exporter's notes is left as it is: it was named before.
    """
    graph = model.graph
    scopes = [_scope(node) for node in graph.node]
    if not any(scopes):
        return
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    parameters = {tensor.name for tensor in graph.initializer}
    taken: Counter[str] = Counter()
    for node, scope in zip(graph.node, scopes, strict=True):
        node.name = _unique(f"{_module(node, scope or '')}/{node.op_type}".lstrip("/"), taken)
        formal = [spec.name for spec in onnx.defs.get_schema(node.op_type, opset, node.domain).inputs]
        for place, value in enumerate(node.input):
            if value in parameters and value not in names:
                wanted = value if _is_path(value) else f"{node.name}/{formal[min(place, len(formal) - 1)]}"
                names[value] = _unique(wanted, taken)
        for place, value in enumerate(node.output):
            if value and value not in names:
                names[value] = _unique(f"{node.name}/{place}" if place else node.name, taken, fresh=not place)
    _apply(graph, names)


def _scope(node: NodeProto) -> str | None:
    notes = {entry.key: entry.value for entry in node.metadata_props}
    if SCOPES not in notes:
        return None
    path: list[str] = ast.literal_eval(notes[SCOPES])
    module = path[-2] if len(path) > 1 else ""
    return "" if module.startswith("_") else module  # torch's own name for what no module called


def _module(node: NodeProto, scope: str) -> str:
    """A convolution that swallowed a norm is still called after the module of its own weights."""
    own = node.op_type == "Conv" and node.input[1].endswith(".weight")
    return node.input[1].removesuffix(".weight") if own else scope


def _is_path(name: str) -> bool:
    """A parameter's or buffer's path in the module; what the exporter makes up has no dot."""
    return "." in name or name in ("scale", "shift")


def _unique(wanted: str, taken: Counter[str], *, fresh: bool = False) -> str:
    """`wanted`, or with the first number that is free; `fresh`: the name of a node, for its first output."""
    if fresh:
        return wanted
    taken[wanted] += 1
    if taken[wanted] == 1:
        return wanted
    return _unique(f"{wanted}_{taken[wanted] - 1}", taken)


def _apply(graph: GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(value, value) for value in node.input]
        node.output[:] = [names.get(value, value) for value in node.output]
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for value in graph.value_info:
        value.name = names.get(value.name, value.name)
