"""fp32 ONNX → typed fp16 ONNX: every tensor between the first and the last compute layer says float16 itself.

Own code instead of `onnxruntime.transformers.float16`: that converter clips weights beyond fp16's range without a word,
casts what comes before the first layer too, and does not know Q/DQ scales.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgetl.errors import ArtefactError, first_line
from edgetl.export.quantisation.layers import COMPUTE
from edgetl.files import write_bytes
from edgetl.types import Array

FLOAT, HALF = int(TensorProto.FLOAT), int(TensorProto.FLOAT16)
SUFFIX = {FLOAT: ".fp32", HALF: ".fp16"}

KEPT_FLOAT = (
    *("Softmax", "LogSoftmax", "Exp", "Log", "Pow", "Sqrt", "Reciprocal", "CumSum", "GlobalAveragePool"),
    *("LayerNormalization", "GroupNormalization", "InstanceNormalization", "RMSNormalization", "LpNormalization"),
    *("ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum"),
    "ReduceLogSumExp",
)
"""Sums and powers leave fp16's range (65504) or lose small addends long before their inputs do."""

FLOAT_ONLY_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs that ONNX types float32 whatever the data is."""

MAX_HALF = float(np.finfo(np.float16).max)
MIN_HALF = float(np.finfo(np.float16).smallest_subnormal)


def to_fp16(source: Path, target: Path) -> None:
    """Writes `source` (fp32 or Q/DQ on fp32) with float16 weights and compute to `target`.

    uint8 inputs, the normalisation before the first compute layer, what follows the last one (temperature, softmax)
    and `KEPT_FLOAT` stay as they are; inputs and outputs keep name and type. Opset and node names do not change, the
    bytes are the same each time. Raises ArtefactError for a weight that fp16 cannot hold, or a graph it cannot type.
    """
    model = typed_fp16(onnx.load(source))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ArtefactError(
            f"`{source}` cannot be typed as fp16: {first_line(error)}", hint="export it again"
        ) from error
    write_bytes(target, model.SerializeToString(deterministic=True))


def typed_fp16(model: ModelProto) -> ModelProto:
    """`to_fp16` in memory, unchecked; `model` itself is not changed."""
    refused = sorted({n.op_type for n in model.graph.node if any(a.HasField("g") or a.graphs for a in n.attribute)})
    if refused or model.functions:
        what = refused[0] if refused else model.functions[0].name
        raise ArtefactError(f"a graph with `{what}` cannot be typed as fp16", hint="export it without control flow")
    typed = ModelProto()
    typed.CopyFrom(model)
    _Typing(typed).rewrite()
    return typed


class _Typing:
    """One pass over the nodes in order; every float32 tensor gets one or both forms, the second under its own name."""

    def __init__(self, model: ModelProto) -> None:
        self.graph = model.graph
        self.floats = _float_tensors(onnx.shape_inference.infer_shapes(model))
        self.constants = {init.name: init for init in self.graph.initializer}
        inputs = [value.name for value in self.graph.input if value.name not in self.constants]
        self.outputs = {value.name for value in self.graph.output}
        self.half = _half_nodes(list(self.graph.node), inputs)
        self.forms: dict[tuple[str, int], str] = {(name, FLOAT): name for name in inputs if name in self.floats}
        self.made_as = dict.fromkeys(inputs, FLOAT)
        self.taken = {name for node in self.graph.node for name in (*node.input, *node.output)}
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def rewrite(self) -> None:
        for index, node in enumerate(list(self.graph.node)):
            if node.op_type == "Constant" and node.output[0] in self.floats:
                self.constants[node.output[0]] = _constant(node)
            else:
                self._add(node, HALF if index in self.half and self._fits(node) and self._joins(node) else FLOAT)
        kept = [init for init in self.graph.initializer if init.name not in self.floats]
        del self.graph.node[:], self.graph.initializer[:], self.graph.value_info[:]
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend([*kept, *self.weights])

    def _fits(self, node: NodeProto) -> bool:
        """Whether fp16 holds the node's constants; a compute layer that does not fit is refused."""
        for name in node.input:
            if name not in self.floats or name not in self.constants:
                continue
            if not _holds(numpy_helper.to_array(self.constants[name]), node.op_type):
                if _starts(node):
                    raise ArtefactError(
                        f"fp16 cannot hold the constant `{name}` of `{node.name}` ({MIN_HALF:.0e} to {MAX_HALF:.0f})",
                        hint="export this model as fp32",
                    )
                return False
        return True

    def _joins(self, node: NodeProto) -> bool:
        """Whether something float16 comes in; a variance stays float32 on its way from the mean to the root."""
        data = [name for name in node.input if name in self.floats and name not in self.constants]
        return _starts(node) or not data or any(self.made_as[name] == HALF for name in data)

    def _add(self, node: NodeProto, kind: int) -> None:
        always_float = FLOAT_ONLY_INPUTS.get(node.op_type, ())
        if node.op_type != "Cast" and not any(name in self.floats for name in node.input):
            kind = FLOAT  # nothing coming in says what goes out, its attribute does
        node = _copy(node)
        for position, name in enumerate(node.input):
            if name in self.floats:
                node.input[position] = self._form(name, FLOAT if position in always_float else kind)
        self.nodes.append(node)
        for position, name in enumerate(node.output):
            if name in self.floats:
                node.output[position] = self._produced(name, kind)
                if node.op_type == "Cast":
                    next(attribute for attribute in node.attribute if attribute.name == "to").i = kind

    def _produced(self, name: str, kind: int) -> str:
        """The name a node writes `name` under; a graph output stays float32 under its own name."""
        self.made_as[name] = kind
        if kind == FLOAT or name not in self.outputs:
            self.forms[name, kind] = name
            return name
        own = self.forms[name, kind] = self._new_name(name, kind)
        self._cast(own, name, FLOAT)
        return own

    def _form(self, name: str, kind: int) -> str:
        """The name of `name` as `kind`, with a cast (or a converted weight) where there is none yet."""
        if (name, kind) not in self.forms:
            other = self.forms.get((name, HALF + FLOAT - kind))
            form = name if other is None else self._new_name(name, kind)
            if name in self.constants:
                array = numpy_helper.to_array(self.constants[name]).astype(np.float16 if kind == HALF else np.float32)
                self.weights.append(numpy_helper.from_array(array, form))
            elif other is not None:
                self._cast(other, form, kind)
            self.forms[name, kind] = form
        return self.forms[name, kind]

    def _cast(self, source: str, target: str, kind: int) -> None:
        self.nodes.append(helper.make_node("Cast", [source], [target], name=f"{target}.cast", to=kind))
        self.forms[target, kind] = target

    def _new_name(self, name: str, kind: int) -> str:
        new = name + SUFFIX[kind]
        while new in self.taken:
            new += "_"
        self.taken.add(new)
        return new


def _half_nodes(nodes: list[NodeProto], inputs: Iterable[str]) -> set[int]:
    """Indices of the compute layers, of what lies between two of them, and of what prepares their constants."""
    from_input, from_compute, to_compute = set(inputs), set[str](), set[str]()
    for node in nodes:
        if any(name in from_input for name in node.input):
            from_input.update(node.output)
        if _starts(node) or any(name in from_compute for name in node.input):
            from_compute.update(node.output)
    for node in reversed(nodes):
        if node.op_type in COMPUTE or any(name in to_compute for name in node.output):
            to_compute.update(node.input)
    return {
        index
        for index, node in enumerate(nodes)
        if _starts(node)
        or (
            node.op_type not in KEPT_FLOAT
            and any(name in to_compute for name in node.output)
            and (any(n in from_compute for n in node.input) or not any(n in from_input for n in node.input))
        )
    }


def _starts(node: NodeProto) -> bool:
    """The pair of Q and DQ shares one type, so that the engine may fuse it into the layer behind."""
    return node.op_type in (*COMPUTE, "QuantizeLinear", "DequantizeLinear")


def _float_tensors(model: ModelProto) -> set[str]:
    graph = model.graph
    typed = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output, *graph.value_info)}
    typed |= {init.name: init.data_type for init in graph.initializer}
    unknown = [name for node in graph.node for name in node.output if name and not typed.get(name)]
    if unknown:
        raise ArtefactError(f"the type of `{unknown[0]}` cannot be inferred", hint="export the model again")
    return {name for name, kind in typed.items() if kind == FLOAT}


def _holds(values: Array, op_type: str) -> bool:
    """Finite values stay finite; a lone constant (an epsilon, a divisor) or a scale must not become 0 either."""
    finite = np.abs(values[np.isfinite(values)])
    if finite.size and finite.max() > MAX_HALF:
        return False
    alone = op_type in ("QuantizeLinear", "DequantizeLinear") or (values.size == 1 and op_type not in COMPUTE)
    return not alone or not bool(((finite > 0) & (finite < MIN_HALF)).any())


def _constant(node: NodeProto) -> TensorProto:
    """A Constant node of float type as an initialiser."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    tensor = values.get("value")
    array = numpy_helper.to_array(tensor) if tensor is not None else np.asarray(next(iter(values.values())), np.float32)
    return numpy_helper.from_array(array, node.output[0])


def _copy(node: NodeProto) -> NodeProto:
    """Without its metadata: torch writes the file and line of the caller there."""
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.metadata_props[:]
    return copy
