"""OpenVINO. Precision is a compile property, so it is always stated, and read back from the compiled model."""

import threading
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

    `threads` and `streams` 0 leave the number to the engine. `batch` compiles for batches of that size, which is
    faster than leaving it open (0); the first batch of another size compiles the model once more, left open.
    """

    device: str = "CPU"
    inference_precision: Literal["fp32", "fp16", "bf16", "fast"] = "fp32"
    hint: Literal["latency", "throughput"] = "latency"
    threads: Annotated[int, msgspec.Meta(ge=0)] = 0
    streams: Annotated[int, msgspec.Meta(ge=0)] = 0
    batch: Annotated[int, msgspec.Meta(ge=0)] = 0


def open_engine(path: Path, options: Options) -> "OpenVinoEngine":
    return OpenVinoEngine(path, typed_options(NAME, options, OpenVinoOptions))


class OpenVinoEngine:
    """A compiled model; `run` copies its outputs, and any number of threads may call it."""

    def __init__(self, path: Path, options: OpenVinoOptions) -> None:
        self._path, self._options = path, options
        model = _read_model(path)
        self.inputs = [_spec(port) for port in model.inputs]
        self.outputs = [_spec(port) for port in model.outputs]
        self._names = [spec.name for spec in self.outputs]
        self._compiled = _compile(model, path, options)
        self._requests = _Requests(self._compiled)
        self._any_batch: _Requests | None = None
        self._compiling = threading.Lock()

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
        requests = self._requests
        if self._options.batch and any(a.shape[:1] != (self._options.batch,) for a in feeds.values()):
            requests = self._for_any_batch()
        try:
            # not infer(): that computes on the caller's thread, beside the threads of the streams
            request = requests.start(feeds)
            request.wait()
        except (RuntimeError, ValueError, TypeError) as error:
            raise EngineError(NAME, first_line(error), hint="do the feeds match the model's inputs?") from error
        outputs = {name: request.get_output_tensor(i).data.copy() for i, name in enumerate(self._names)}
        requests.give_back(request)
        return outputs

    def _for_any_batch(self) -> "_Requests":
        with self._compiling:
            if self._any_batch is None:
                options = msgspec.structs.replace(self._options, batch=0)
                self._any_batch = _Requests(_compile(_read_model(self._path), self._path, options))
            return self._any_batch

    def close(self) -> None:
        del self._requests, self._any_batch, self._compiled


class _Requests:
    """The infer requests of a compiled model: one for each call that runs at the same time, made when needed."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._idle: list[Any] = []

    def start(self, feeds: Feeds) -> Any:
        """A request that computes; one that is not given back, because it failed, is used no more."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        request.start_async(dict(feeds), share_inputs=True)
        return request

    def give_back(self, request: Any) -> None:
        self._idle.append(request)


def _read_model(path: Path) -> Any:
    try:
        return ov.Core().read_model(path)
    except (RuntimeError, ValueError, TypeError) as error:
        raise _cannot_open(path, error) from error


def _compile(model: Any, path: Path, options: OpenVinoOptions) -> Any:
    """`model`, with its first axis fixed to `options.batch` where that is asked for. Raises EngineError."""
    try:
        if options.batch:
            shapes = {port.get_any_name(): port.get_partial_shape() for port in model.inputs}
            for shape in shapes.values():
                shape[0] = options.batch
            model.reshape(shapes)
        return ov.Core().compile_model(model, options.device, _properties(options))
    except (RuntimeError, ValueError, TypeError) as error:
        raise _cannot_open(path, error) from error


def _cannot_open(path: Path, error: Exception) -> EngineError:
    return EngineError(NAME, f"cannot open `{path}`: {first_line(error)}", hint="export it again")


def _properties(options: OpenVinoOptions) -> dict[str, Any]:
    properties: dict[str, Any] = {"PERFORMANCE_HINT": options.hint.upper()}
    if options.device == "CPU":
        # otherwise a matrix product with int8 weights rounds its activations too, which nobody asked for
        properties["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0
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
            kernel = info["primitiveType"].astype(str).rpartition("_")[2]
            if kind in ("i8", "u8") and kernel in HINTS.values():
                kind = kernel  # only the weights are int8, and unpacked: OpenVINO 2026.4 gives their precision
            counts[PRECISIONS.get(kind, kind)] += 1
    return dict(counts)
