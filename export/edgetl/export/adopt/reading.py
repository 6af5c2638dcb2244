"""Opens an ONNX file from anywhere: nothing outside its folder is read, and what cannot be carried on is refused."""

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, TensorProto
from onnx.checker import ValidationError
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model, uses_external_data
from onnx.inliner import inline_local_functions

from edgetl.errors import ArtefactError, first_line
from edgetl.export.quantisation.layers import COMPUTE
from edgetl.finetune.graph import MAX_BYTES

OLDEST_OPSET, UPGRADED_OPSET = 13, 17
"""Older files are lifted: since 13 an operator's axes are inputs and weights may be quantised per channel."""

IR_VERSION = 8
"""The least: since 4 a weight need not be an input too, 8 is what opset 17 came with."""

QUANTISED = frozenset(
    ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
     "MatMulInteger")
)  # fmt: skip
NARROW = {
    int(TensorProto.FLOAT16): "float16", int(TensorProto.BFLOAT16): "bfloat16", int(TensorProto.DOUBLE): "float64",
}  # fmt: skip


def read_model(path: Path) -> ModelProto:
    """The model with its weights in memory, opset 13 or newer, whatever it was exported from.

    Raises ArtefactError: no ONNX file, weights outside its folder or above 2 GiB, operators that are not ONNX's own,
    quantised or not float32 already, no layer to speak of, or an opset that cannot be lifted.
    """
    model = _parsed(path)
    _load_weights(path, model)
    model = _inlined(path, model)
    _check_operators(path, model)
    model = _lifted(path, model)
    try:
        onnx.checker.check_model(model)
    except (ValidationError, ValueError) as error:
        raise ArtefactError(f"`{path}` is no sound ONNX model: {first_line(error)}", hint="export it again") from error
    return model


def _parsed(path: Path) -> ModelProto:
    if not path.is_file():
        raise ArtefactError(f"`{path}` does not exist", hint="name the .onnx file")
    if path.stat().st_size > MAX_BYTES:
        raise _too_large(path, path.stat().st_size)
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ArtefactError(f"`{path}` is no ONNX file: {first_line(error)}", hint="export it again") from error
    if not model.graph.node or not model.graph.output:
        raise ArtefactError(f"`{path}` is no ONNX file: it holds no graph", hint="export it again")
    return model


def _too_large(path: Path, size: int) -> ArtefactError:
    return ArtefactError(
        f"`{path}` has {size / 2**30:.1f} GiB of weights, and one ONNX file holds 2 GiB",
        hint="edgetl is for models of edge devices; choose a smaller one",
    )


def _load_weights(path: Path, model: ModelProto) -> None:
    """Reads the weights that lie in other files, all of them beside `path`."""
    outside = [tensor for tensor in _tensors(model.graph) if uses_external_data(tensor)]
    size = path.stat().st_size
    for tensor in outside:
        info = ExternalDataInfo(tensor)
        place = path.parent / info.location
        if not info.location or not place.resolve().is_relative_to(path.parent.resolve()):
            raise ArtefactError(
                f"`{path}` keeps `{tensor.name}` in `{info.location}`, outside its folder",
                hint="put the model and its weights in one folder; do not trust a file from elsewhere",
            )
        if not place.is_file():
            raise ArtefactError(
                f"`{path}` keeps `{tensor.name}` in `{info.location}`, which is not there",
                hint="copy that file too: it belongs to the model",
            )
        size += info.length or place.stat().st_size
    if size > MAX_BYTES:
        raise _too_large(path, size)
    try:
        load_external_data_for_model(model, str(path.parent))
    except (ValidationError, ValueError, OSError) as error:
        raise ArtefactError(
            f"the weights of `{path}` cannot be read: {first_line(error)}", hint="copy the model again"
        ) from error


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every constant of the graph and of the graphs inside it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)


def _inlined(path: Path, model: ModelProto) -> ModelProto:
    if not model.functions:
        return model
    try:
        return inline_local_functions(model)
    except Exception as error:  # the library raises nothing more special
        raise ArtefactError(
            f"the functions of `{path}` cannot be inlined: {first_line(error)}", hint="export it without functions"
        ) from error


def _check_operators(path: Path, model: ModelProto) -> None:
    foreign = sorted({f"{n.domain}.{n.op_type}" for n in model.graph.node if n.domain not in ("", "ai.onnx")})
    if foreign:
        raise ArtefactError(
            f"`{path}` has operators that are not ONNX's own: `{'`, `'.join(foreign[:5])}`",
            hint="export the model itself, without optimisations for one engine and without post-processing plugins",
        )
    if quantised := sorted({n.op_type for n in model.graph.node} & QUANTISED):
        raise ArtefactError(
            f"`{path}` is quantised already (`{quantised[0]}`)",
            hint="adopt the float32 model: edgetl quantises for each engine",
        )
    if narrow := next((t for t in _tensors(model.graph) if t.data_type in NARROW and len(t.dims) > 1), None):
        raise ArtefactError(
            f"the weights of `{path}` are {NARROW[narrow.data_type]} (`{narrow.name}`)",
            hint="adopt the float32 model: it is the reference that every variant is held against",
        )
    if not any(node.op_type in COMPUTE for node in model.graph.node):
        raise ArtefactError(
            f"`{path}` has no convolution and no matrix product", hint="only neural networks can be adopted"
        )


def _lifted(path: Path, model: ModelProto) -> ModelProto:
    """Without weights among the inputs, and with an opset that the rest of edgetl reads."""
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in [value for value in model.graph.input if value.name in weights]:
        model.graph.input.remove(value)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    if opset < OLDEST_OPSET:
        try:
            model = onnx.version_converter.convert_version(model, UPGRADED_OPSET)
        except Exception as error:  # the converter raises bare RuntimeErrors
            raise ArtefactError(
                f"`{path}` has opset {opset}, which cannot be lifted to {UPGRADED_OPSET}: {first_line(error)}",
                hint=f"export it with opset {UPGRADED_OPSET}",
            ) from error
    model.ir_version = max(model.ir_version, IR_VERSION)
    return model
