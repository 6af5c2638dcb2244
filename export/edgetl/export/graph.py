"""What torch's exporter wrote, made fit to ship: folded, shaped, well named, with nothing of the machine in it."""

from collections.abc import Sequence
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError, EncodeError
from onnx import ModelProto, ValueInfoProto
from onnx.checker import ValidationError
from onnx.shape_inference import InferenceError
from onnx_ir.passes.common import ShapeInferencePass
from onnxscript import optimizer

from edgetl.errors import ArtefactError, first_line
from edgetl.export.naming import rename
from edgetl.files import write_bytes
from edgetl.finetune.graph import MAX_BYTES
from edgetl.types import TensorSpec

FOLDED_VALUES = 2**24
"""The largest constant folding may write, in values: beyond, a mask for many windows would swell the file."""

LARGE_BYTES = 1024
"""What is larger is a weight and no shape, whose values would count."""


def finish(path: Path, inputs: Sequence[TensorSpec]) -> None:
    """Rewrites the ONNX file `export_onnx` wrote as one that two machines write alike, byte for byte.

    Constants are folded, every tensor has its shape, nodes and tensors are named after the torch modules they come
    from, and neither paths nor code of this machine remain. Only axes that `inputs` names are dynamic. Finishing again
    changes nothing. Raises ArtefactError for a file that is no valid model, keeps weights elsewhere or exceeds 2 GiB.
    """
    model = _read(path)
    _check_axes(path, model, inputs)
    try:
        model = _folded(model)
        rename(model)
        _strip(model)
        _infer_shapes(model)
        onnx.checker.check_model(model, full_check=True)
        content = model.SerializeToString(deterministic=True)
    except (InferenceError, ValidationError, EncodeError, ValueError) as error:
        raise ArtefactError(
            f"`{path}` is no sound ONNX model: {first_line(error)}", hint="export with another opset"
        ) from error
    write_bytes(path, content)


def _read(path: Path) -> ModelProto:
    if path.stat().st_size > MAX_BYTES:
        raise ArtefactError(f"`{path}` is larger than the 2 GiB of one ONNX file", hint="choose a smaller backbone")
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ArtefactError(f"`{path}` is no ONNX file: {first_line(error)}", hint="export it again") from error
    outside = [tensor.name for tensor in model.graph.initializer if tensor.data_location == tensor.EXTERNAL]
    if outside:
        raise ArtefactError(f"`{path}` keeps `{outside[0]}` in another file", hint="export it as one file")
    return model


def _check_axes(path: Path, model: ModelProto, inputs: Sequence[TensorSpec]) -> None:
    """Raises ArtefactError unless the axes are dynamic that have a name in `inputs`, and no other; of outputs, the
    batch alone.
    """
    wanted = {spec.name: spec.shape for spec in inputs}
    batches = set()
    for value in (*model.graph.input, *model.graph.output):
        axes = [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        shape = wanted.get(value.name, ("batch", *axes[1:]))
        fits = len(axes) == len(shape) and len(axes) > 1 and isinstance(axes[0], str)
        if not fits or any(not _as_said(axis, said) for axis, said in zip(axes[1:], shape[1:], strict=True)):
            shown = " × ".join(str(axis or "?") for axis in axes)
            raise ArtefactError(
                f"`{value.name}` of `{path}` is {shown}, but the batch and nothing else may be dynamic"
                if all(isinstance(axis, int) for spec in inputs for axis in spec.shape[1:])
                else f"`{value.name}` of `{path}` is {shown}, which are other axes than the task's",
                hint="export it with a fixed height and width",
            )
        batches.add(axes[0])
    if len(batches) != 1:
        raise ArtefactError(f"`{path}` has several batches: `{'`, `'.join(sorted(batches))}`", hint="export it again")


def _as_said(axis: int | str, said: int | str) -> bool:
    """A named axis is dynamic, a length is that length."""
    return isinstance(axis, str) if isinstance(said, str) else axis == said and said > 0


def _folded(model: ModelProto) -> ModelProto:
    """Everything that follows from weights and constants alone is computed now, masks of windows included."""
    graph = ir.from_proto(model)
    optimizer.fold_constants(
        graph,
        onnx_shape_inference=True,
        input_size_limit=MAX_BYTES,
        output_size_limit=FOLDED_VALUES,
        # by default it stays, and with it all that computes a mask; one as long as the batch has no constant input
        should_fold=lambda node: True if node.op_type == "ConstantOfShape" and _constant(node) else None,
    )
    nodes = -1
    while nodes != len(graph.graph):
        nodes = len(graph.graph)
        # shapes that are known only through values show the next constants
        ShapeInferencePass()(graph)
        optimizer.optimize(graph, input_size_limit=MAX_BYTES, output_size_limit=FOLDED_VALUES)
    return ir.to_proto(graph)


def _constant(node: ir.Node) -> bool:
    return all(value is not None and value.const_value is not None for value in node.inputs)


def _strip(model: ModelProto) -> None:
    """Without stack traces, file paths and versions of libraries (the manifest has those)."""
    model.producer_name, model.graph.name = "edgetl", "main"
    for field in ("producer_version", "doc_string", "domain", "metadata_props"):
        model.ClearField(field)
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _infer_shapes(model: ModelProto) -> None:
    """Fills `value_info`, sorted by name. Weights go by their shape alone: a copy of their values is slow."""
    light = _without_values(model)
    shaped = onnx.shape_inference.infer_shapes(light, check_type=True, strict_mode=True, data_prop=True)
    inner = {name for node in model.graph.node for name in node.output} - {value.name for value in model.graph.output}
    model.graph.ClearField("value_info")
    for value in sorted(shaped.graph.value_info, key=lambda value: value.name):
        if value.name in inner:
            _forget_made_up_axes(value)
            model.graph.value_info.append(value)


def _without_values(model: ModelProto) -> ModelProto:
    """A model whose large weights are inputs."""
    graph = model.graph
    large = [tensor for tensor in graph.initializer if len(tensor.raw_data) > LARGE_BYTES]
    return onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.node,
            graph.name,
            [*graph.input, *(onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in large)],
            graph.output,
            [tensor for tensor in graph.initializer if len(tensor.raw_data) <= LARGE_BYTES],
            value_info=graph.value_info,
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )


def _forget_made_up_axes(value: ValueInfoProto) -> None:
    """Shape inference numbers the axes it does not know; without a name they say as much."""
    for axis in value.type.tensor_type.shape.dim:
        if axis.dim_param.startswith("unk__"):
            axis.ClearField("dim_param")
