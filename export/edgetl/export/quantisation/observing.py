"""Runs a graph in ONNX Runtime and hands out every activation, not only the outputs."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import onnx

from edgetl.telemetry import no_telemetry
from edgetl.types import Array, Feeds, Outputs

with no_telemetry():
    import onnxruntime as ort
    from onnxruntime.quantization.shape_inference import quant_pre_process


def prepare(source: Path, target: Path) -> None:
    """Writes the graph with shapes inferred and what ONNX Runtime folds folded, as its quantiser wants it."""
    quant_pre_process(source, target, skip_symbolic_shape=True)


def activations(path: Path, batches: Iterable[Feeds]) -> Iterator[dict[str, Array]]:
    """Name → value of every float tensor the graph computes, batch by batch."""
    model = onnx.load(path)
    return values(model, _computed(model), batches)


def values(model: onnx.ModelProto, names: list[str], batches: Iterable[Feeds]) -> Iterator[dict[str, Array]]:
    """Name → value of these float tensors, batch by batch; what they do not need is not computed."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    known = {output.name for output in copied.graph.output}
    copied.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    session = open_session(copied)
    for batch in batches:
        yield dict(zip(names, session.run(names, dict(batch)), strict=True))


def answering(model: onnx.ModelProto) -> Callable[[Feeds], Outputs]:
    """From the graph's inputs to its outputs."""
    session = open_session(model)
    names = [output.name for output in session.get_outputs()]

    def answer(feeds: Feeds) -> Outputs:
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return answer


def open_session(model: onnx.ModelProto) -> ort.InferenceSession:
    """The model on the CPU."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _computed(model: onnx.ModelProto) -> list[str]:
    """Every float tensor that is computed, in the order of the graph."""
    floats = {
        value.name
        for value in (*model.graph.value_info, *model.graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    return [name for node in model.graph.node for name in node.output if name in floats]
