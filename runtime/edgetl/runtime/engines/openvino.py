"""OpenVINO. Precision is a compile property, so it is always stated, and read back from the compiled model."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import openvino as ov

from edgetl.errors import EngineError, first_line
from edgetl.runtime.engines import compute_precision, typed_options
from edgetl.types import EngineFacts, Feeds, Options, Outputs, TensorSpec

NAME = "openvino"
HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "fast": ""}
PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}
COMPUTE = ("Convolution", "FullyConnected", "MatMul", "Deconvolution")


class OpenVinoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`inference_precision` is what layers that are not quantised run in; `fast` is the engine's own choice.

    `threads` and `streams` 0 leave the number to the engine.
    """

    device: str = "CPU"
    inference_precision: Literal["fp32", "fp16", "bf16", "fast"] = "fp32"
    hint: Literal["latency", "throughput"] = "latency"
    threads: Annotated[int, msgspec.Meta(ge=0)] = 0
    streams: Annotated[int, msgspec.Meta(ge=0)] = 0


def open_engine(path: Path, options: Options) -> "OpenVinoEngine":
    return OpenVinoEngine(path, typed_options(NAME, options, OpenVinoOptions))


class OpenVinoEngine:
    """One compiled model with one infer request; `run` copies its outputs and is not for concurrent calls."""

    def __init__(self, path: Path, options: OpenVinoOptions) -> None:
        self._options = options
        try:
            core = ov.Core()
            self._compiled = core.compile_model(core.read_model(path), options.device, _properties(options))
            self._request = self._compiled.create_infer_request()
        except (RuntimeError, ValueError, TypeError) as error:
            raise EngineError(NAME, f"cannot open `{path}`: {first_line(error)}", hint="export it again") from error
        self.inputs = [_spec(port) for port in self._compiled.inputs]
        self.outputs = [_spec(port) for port in self._compiled.outputs]
        self._names = [spec.name for spec in self.outputs]

    @property
    def facts(self) -> EngineFacts:
        layers = _executed_layers(self._compiled)
        return EngineFacts(
            engine=NAME,
            version=str(ov.__version__).split("-")[0],
            provider=",".join(self._compiled.get_property("EXECUTION_DEVICES")),
            asked=self._options.device,
            precision=compute_precision(layers),
            threads=int(self._compiled.get_property("INFERENCE_NUM_THREADS")) if self._options.device == "CPU" else 0,
            layers=layers,
        )

    def run(self, feeds: Feeds) -> Outputs:
        try:
            results = self._request.infer(dict(feeds), share_inputs=True)
        except (RuntimeError, ValueError, TypeError) as error:
            raise EngineError(NAME, first_line(error), hint="do the feeds match the model's inputs?") from error
        return {name: results[index].copy() for index, name in enumerate(self._names)}

    def close(self) -> None:
        del self._request, self._compiled


def _properties(options: OpenVinoOptions) -> dict[str, Any]:
    properties: dict[str, Any] = {"PERFORMANCE_HINT": options.hint.upper()}
    if HINTS[options.inference_precision]:
        properties["INFERENCE_PRECISION_HINT"] = HINTS[options.inference_precision]
    if options.threads:
        properties["INFERENCE_NUM_THREADS"] = options.threads
    if options.streams:
        properties["NUM_STREAMS"] = options.streams
    return properties


def _spec(port: Any) -> TensorSpec:
    kinds = {"f32": "float32", "u8": "uint8", "f16": "float16"}
    kind = port.get_element_type().get_type_name()
    shape = tuple("batch" if axis.is_dynamic else axis.get_length() for axis in port.get_partial_shape())
    return TensorSpec(name=port.get_any_name(), dtype=kinds.get(kind, kind), shape=shape)


def _executed_layers(compiled: Any) -> dict[str, int]:
    """Counts the compute layers of the runtime graph by the precision the plugin says they execute in."""
    counts: Counter[str] = Counter()
    for operation in compiled.get_runtime_model().get_ordered_ops():
        info = operation.get_rt_info()
        if info["layerType"].astype(str) in COMPUTE:
            kind = info["runtimePrecision"].astype(str)
            counts[PRECISIONS.get(kind, kind)] += 1
    return dict(counts)
