"""OpenVINO. Precision is a compile property, so it is always stated, and read back from the compiled model."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgetl.errors import EngineError, first_line
from edgetl.runtime.engine_cache import compiled_key, remembered
from edgetl.runtime.engines import compute_precision, refusal, typed_options
from edgetl.runtime.engines.options import OpenVinoOptions
from edgetl.telemetry import no_telemetry
from edgetl.types import Array, EngineFacts, Feeds, Options, Outputs, TensorSpec

with no_telemetry():
    import openvino as ov

NAME = "openvino"
HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "fast": ""}
PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}
COMPUTE = ("Convolution", "FullyConnected", "MatMul", "Deconvolution")
TROUBLE = (RuntimeError, ValueError, TypeError)
"""What OpenVINO raises."""

LENGTHS_KEPT = 8
"""So many models compiled for one length stay open."""

SINK = "/sink_port_0"
"""What OpenVINO appends to the name of what a model's output comes from."""

ARITHMETIC = {"GPU": ("fp32", "fp16", "fast"), "NPU": ("fp16", "fast")}
"""What a device computes in where a layer is not quantised, if not all of `HINTS`."""


def open_engine(path: Path, options: Options) -> "OpenVinoEngine":
    return OpenVinoEngine(path, typed_options(NAME, options, OpenVinoOptions))


class OpenVinoEngine:
    """A compiled model; `run` copies its outputs, and any number of threads may call it.

    So many calls compute at once as there are streams: one with the latency hint, the others wait for their turn.
    """

    def __init__(self, path: Path, options: OpenVinoOptions) -> None:
        self._path, self._options = path, options
        self._compiled = _compiled(path, options)
        self.inputs = [_spec(port) for port in self._compiled.inputs]
        self.outputs = [_spec(port) for port in self._compiled.outputs]
        self._requests = _Requests(self._compiled)
        self._any_batch: _Requests | None = None
        self._of_length: OrderedDict[int, _Requests] = OrderedDict()
        _check_lengths(self.inputs, self.outputs, options)
        self._compiling = threading.Lock()
        self._facts: EngineFacts | None = None

    @property
    def facts(self) -> EngineFacts:
        """What the compiled model says of itself: its runtime graph and its properties."""
        if self._facts is None:
            layers = _executed_layers(self._compiled)
            on_processor = self._options.device == "CPU"
            self._facts = EngineFacts(
                engine=NAME,
                version=str(ov.__version__).split("-")[0],
                provider=",".join(self._compiled.get_property("EXECUTION_DEVICES")),
                asked=self._options.device,
                precision=compute_precision(layers),
                threads=int(self._compiled.get_property("INFERENCE_NUM_THREADS")) if on_processor else 0,
                layers=layers,
            )
        return self._facts

    def run(self, feeds: Feeds) -> Outputs:
        requests = self._requests
        try:
            if self._options.batch and any(a.shape[:1] != (self._options.batch,) for a in feeds.values()):
                if self._options.kind == "NPU":
                    return _in_pieces(requests, feeds, self._options.batch)
                requests = self._for_any_batch()
            elif self._options.length_step and len(next(iter(feeds.values()))) == 1:
                return self._padded(feeds)
            return requests.run(feeds)
        except (*TROUBLE, KeyError, AttributeError) as error:
            raise refusal(NAME, error, feeds, self.inputs) from error

    def _for_any_batch(self) -> "_Requests":
        with self._compiling:
            if self._any_batch is None:
                self._any_batch = _Requests(_compiled(self._path, msgspec.structs.replace(self._options, batch=0)))
            return self._any_batch

    def _padded(self, feeds: Feeds) -> Outputs:
        """A single text, filled up with zeros, which its mask tells from tokens."""
        length, step = next(iter(feeds.values())).shape[1], self._options.length_step
        wanted = -(-length // step) * step
        requests = self._for_length(wanted)
        return requests.run({name: np.pad(array, ((0, 0), (0, wanted - length))) for name, array in feeds.items()})

    def _for_length(self, length: int) -> "_Requests":
        with self._compiling:
            if length not in self._of_length:
                if len(self._of_length) == LENGTHS_KEPT:
                    self._of_length.popitem(last=False)
                self._of_length[length] = _Requests(_compiled(self._path, self._options, length))
            self._of_length.move_to_end(length)
            return self._of_length[length]

    def close(self) -> None:
        del self._requests, self._any_batch, self._of_length, self._compiled


class _Requests:
    """The infer requests of a compiled model: one for each call that runs at the same time, made when needed."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._inputs = [_name(port) for port in compiled.inputs]
        self._outputs = [_name(port) for port in compiled.outputs]
        self._idle: list[Any] = []

    def run(self, feeds: Feeds) -> Outputs:
        """A request that fails is used no more."""
        if len(feeds) != len(self._inputs):
            raise ValueError("another number of inputs")  # a request would take what it was fed before
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        tensors = [_shared(feeds[name]) for name in self._inputs]
        for index, tensor in enumerate(tensors):
            request.set_input_tensor(index, tensor)
        # not infer(): that computes on the caller's thread, beside the threads of the streams
        request.start_async()
        request.wait()
        outputs = {name: request.get_output_tensor(i).data.copy() for i, name in enumerate(self._outputs)}
        self._idle.append(request)
        return outputs


def _in_pieces(requests: _Requests, feeds: Feeds, size: int) -> Outputs:
    """The outputs of a batch that is a multiple of `size`, computed `size` samples at a time."""
    count = len(next(iter(feeds.values())))
    if count == 0 or count % size or any(len(array) != count for array in feeds.values()):
        raise ValueError(f"a batch of {count} for a model that was compiled for batches of {size}")
    starts = range(0, count, size)
    pieces = [requests.run({name: array[i : i + size] for name, array in feeds.items()}) for i in starts]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _shared(array: Array) -> Any:
    """The array's own memory as a tensor, a copy where OpenVINO cannot read that."""
    return ov.Tensor(array, shared_memory=array.flags.c_contiguous and array.flags.writeable)


def _check_lengths(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], options: OpenVinoOptions) -> None:
    """Raises EngineError when `length_step` is asked for and the model does not read texts."""
    reads = all(spec.dtype == "int64" and len(spec.shape) == 2 and isinstance(spec.shape[1], str) for spec in inputs)
    answers = all(isinstance(axis, int) for spec in outputs for axis in spec.shape[1:])
    if options.length_step and not (reads and answers):
        raise EngineError(NAME, "`length_step` is for models that read texts", hint="leave it out")


def _compiled(path: Path, options: OpenVinoOptions, length: int = 0) -> Any:
    """`path` compiled with `options`, from the cache where it is kept; with `length`, for one text of so many tokens.

    Raises EngineError.
    """
    core = ov.Core()
    if not (options.cache and options.device == "CPU" and path.suffix == ".xml"):
        return _compile(core, path, options, length)
    properties = _properties(options)
    told = {**properties, "batch": options.batch, **({"length": length} if length else {})}
    files = (path, path.with_suffix(".bin"))
    try:
        key = compiled_key(NAME, str(ov.__version__), files, {name: str(value) for name, value in told.items()})
    except OSError as error:
        raise _cannot_open(path, error) from error
    return remembered(
        key,
        load=lambda content: _import(core, content, options),
        build=lambda: _compile(core, path, options, length),
        dump=_export,
    )


def _compile(core: Any, path: Path, options: OpenVinoOptions, length: int) -> Any:
    """Compiles `path`, with its first axis fixed to `options.batch` where that is asked for, or for one text.

    Raises EngineError.
    """
    try:
        model = core.read_model(path)
        if length:
            model.reshape({_name(port): [1, length] for port in model.inputs})
        elif options.batch:
            shapes = {_name(port): port.get_partial_shape() for port in model.inputs}
            for shape in shapes.values():
                shape[0] = options.batch
            model.reshape(shapes)
        return core.compile_model(model, options.device, _properties(options))
    except TROUBLE as error:
        raise _cannot_open(path, error) from error


def _import(core: Any, content: bytes, options: OpenVinoOptions) -> Any:
    try:
        return core.import_model(content, options.device, _properties(options))
    except TROUBLE as error:
        raise EngineError(NAME, _reason(error)) from error


def _export(compiled: Any) -> bytes:
    try:
        exported = compiled.export_model()
    except TROUBLE as error:
        raise EngineError(NAME, f"cannot be kept: {_reason(error)}") from error
    return exported if isinstance(exported, bytes) else bytes(exported.getbuffer())  # bytes: before 2025.2


def _cannot_open(path: Path, error: Exception) -> EngineError:
    return EngineError(NAME, f"cannot open `{path}`: {_reason(error)}", hint="export it again")


def _reason(error: Exception) -> str:
    """What happened; OpenVINO first says where in its sources."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line and not line.startswith("Exception from ")), first_line(error))[:300]


def _properties(options: OpenVinoOptions) -> dict[str, Any]:
    """What OpenVINO is told. Raises EngineError when the device has no arithmetic of the precision asked for."""
    has = ARITHMETIC.get(options.kind, tuple(HINTS))
    if options.inference_precision not in has:
        asked, other = options.inference_precision, " or ".join(each for each in has if each != "fast")
        raise EngineError(NAME, f"the {options.kind} does not compute in `{asked}`", hint=f"export {other} for it")
    properties: dict[str, Any] = {"PERFORMANCE_HINT": options.hint.upper()}
    if options.device == "CPU":
        # otherwise a matrix product with int8 weights rounds its activations too, which nobody asked for
        properties["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "0"  # as a number 2024.6 refuses it
    if HINTS[options.inference_precision] and options.kind != "NPU":  # which has that arithmetic only, and no hint
        properties["INFERENCE_PRECISION_HINT"] = HINTS[options.inference_precision]
    if options.threads:
        properties["INFERENCE_NUM_THREADS"] = options.threads
    if options.streams:
        properties["NUM_STREAMS"] = options.streams
    if options.pinning is not None:
        properties["ENABLE_CPU_PINNING"] = options.pinning
    return properties


def _spec(port: Any) -> TensorSpec:
    """The first axis is the batch, whatever size it was compiled for."""
    kinds = {"f32": "float32", "u8": "uint8", "f16": "float16", "i64": "int64"}
    kind = port.get_element_type().get_type_name()
    axes = ["any" if axis.is_dynamic else axis.get_length() for axis in port.get_partial_shape()]
    return TensorSpec(name=_name(port), dtype=kinds.get(kind, kind), shape=("batch", *axes[1:]))


def _name(port: Any) -> str:
    """The tensor's own name: where operations were fused into one, a port has the names of all of them."""
    own = str(port.get_node().get_friendly_name()).removesuffix(SINK)
    return own if own in port.get_names() else str(port.get_any_name())


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
