"""TensorRT. The engine is built on the device at first open and cached; the inspector says what it runs in.

TensorRT 10.12 and later, and 11. Precision is typed in the graph; TF32 is cleared.
"""

import os
import threading
import warnings
from pathlib import Path

import msgspec
import numpy as np
import tensorrt as trt

from edgetl.cache import cache_directory
from edgetl.errors import ConfigError, EngineError, first_line
from edgetl.runtime.engine_cache import keep, not_kept
from edgetl.runtime.engines import compute_precision, typed_options
from edgetl.runtime.engines.options import TensorRtOptions
from edgetl.runtime.tensorrt.batches import LENGTH, checked, in_pieces, largest_shape, pieces
from edgetl.runtime.tensorrt.build import Log, build, sizes
from edgetl.runtime.tensorrt.cache import EngineKey, content_hash, engine_path, exclusive, find, store, timing_path
from edgetl.runtime.tensorrt.device import Buffer, Gpu, Stream, describe, select
from edgetl.runtime.tensorrt.inspect import executed_layers
from edgetl.runtime.tensorrt.recipe import FILE, BuildRecipe, read_recipe
from edgetl.types import EngineFacts, Feeds, Options, Outputs, TensorSpec

NAME = "tensorrt"
CACHE = "tensorrt"


def open_engine(path: Path, options: Options) -> "TensorRtEngine":
    """Opens `path` (typed ONNX) with the `build.json` beside it; builds when the cache has no engine for this machine.

    Warns (RuntimeWarning) when a cached engine was there but could not be used.
    """
    return TensorRtEngine(path, typed_options(NAME, options, TensorRtOptions))


class TensorRtEngine:
    """One engine with one execution context and its own GPU memory; concurrent `run` calls wait for each other."""

    def __init__(self, path: Path, options: TensorRtOptions) -> None:
        self._recipe = read_recipe(path.with_name(FILE))
        self._gpu = describe(options.device)
        self._log = Log()
        self._runtime = trt.Runtime(self._log)
        # a version-compatible plan carries the lean runtime, which is code; ours comes from our private cache
        self._runtime.engine_host_code_allowed = self._recipe.version_compatible
        self._engine = _cached_or_built(path, self._recipe, self._gpu, _folder(options), self._runtime, self._log)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._log.failure("cannot make an execution context", hint="is there GPU memory left?")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        self.inputs = [_spec(self._engine, name) for name in names if modes[name] == trt.TensorIOMode.INPUT]
        self.outputs = [_spec(self._engine, name) for name in names if modes[name] == trt.TensorIOMode.OUTPUT]
        self._stream = Stream()
        self._buffers = {spec.name: self._buffer(spec) for spec in (*self.inputs, *self.outputs)}
        self._facts: EngineFacts | None = None
        self._turn = threading.Lock()

    @property
    def facts(self) -> EngineFacts:
        """`layers` counts what the inspector says of the built engine; `tf32` among it would break the declaration."""
        if self._facts is None:
            inspector = self._engine.create_engine_inspector()
            information = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
            layers = executed_layers(information, self._recipe.compute)
            self._facts = EngineFacts(
                engine=NAME,
                version=trt.__version__,
                provider=self._gpu.name,
                precision=compute_precision(layers),
                threads=0,
                layers=layers,
            )
        return self._facts

    def run(self, feeds: Feeds) -> Outputs:
        """A batch beyond the profile's largest goes through in pieces."""
        batch = self._recipe.batch
        slices = pieces(checked(feeds, self.inputs), batch.min, batch.max)
        with self._turn:
            select(self._gpu.index)
            return in_pieces(feeds, slices, self._run)

    def _run(self, feeds: Feeds) -> Outputs:
        values = {spec.name: np.ascontiguousarray(feeds[spec.name]) for spec in self.inputs}
        for name, value in values.items():
            self._stream.upload(self._buffers[name], value)
            if not self._context.set_input_shape(name, tuple(value.shape)):
                raise self._log.failure(f"refuses the shape {value.shape} of `{name}`", hint="see `build.json`")
        if not self._context.execute_async_v3(self._stream.handle):
            raise self._log.failure("cannot run", hint="is there GPU memory left?")
        outputs: Outputs = {}
        for spec in self.outputs:
            shape = sizes(self._context.get_tensor_shape(spec.name))
            outputs[spec.name] = self._stream.download(self._buffers[spec.name], shape, spec.dtype)
        self._stream.wait()
        return outputs

    def close(self) -> None:
        select(self._gpu.index)
        self._stream.wait()
        del self._context, self._engine, self._runtime
        for buffer in self._buffers.values():
            buffer.close()
        self._stream.close()

    def _buffer(self, spec: TensorSpec) -> Buffer:
        """Room for the largest batch of the longest, known to the context."""
        shape = largest_shape(spec.shape, self._recipe)
        buffer = Buffer(int(np.prod(shape)) * np.dtype(spec.dtype).itemsize)
        self._context.set_tensor_address(spec.name, buffer.address)
        return buffer


def _folder(options: TensorRtOptions) -> Path | None:
    """Where engines are kept; None, with a warning, on a device that can keep nothing of its own."""
    if not options.cache:
        try:
            folder = cache_directory(CACHE)
        except ConfigError as error:
            not_kept(error.message)
            return None
        return folder
    folder = Path(options.cache)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise EngineError(
            NAME, f"the cache `{folder}` cannot be used: {first_line(error)}", hint="set `cache`"
        ) from error
    return folder


def _cached_or_built(
    path: Path, recipe: BuildRecipe, gpu: Gpu, folder: Path | None, runtime: trt.Runtime, log: Log
) -> trt.ICudaEngine:
    if folder is None:
        return _loaded(build(path.read_bytes(), recipe, b"", log).plan, runtime, log)
    key = EngineKey(
        content=content_hash(path, recipe),
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        processors=gpu.processors,
        driver=gpu.driver,
        tensorrt=trt.__version__,
    )
    place = engine_path(folder, key)
    if (engine := _cached(place, key, runtime)[0]) is not None:
        return engine
    if not os.access(folder, os.W_OK):
        not_kept(f"`{folder}` is read-only")
        return _loaded(build(path.read_bytes(), recipe, b"", log).plan, runtime, log)
    with exclusive(folder):
        engine, problem = _cached(place, key, runtime)
        if engine is not None:  # someone else built it while this process waited
            return engine
        if problem:
            warnings.warn(f"the cached engine `{place}` {problem}; it is built again", RuntimeWarning, stacklevel=2)
        plan = _build(path, recipe, folder, key, log)
        engine = _loaded(plan, runtime, log)
        keep(lambda: store(place, key, plan), folder)
        return engine


def _loaded(plan: bytes, runtime: trt.Runtime, log: Log) -> trt.ICudaEngine:
    """The engine just built."""
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise log.failure("cannot load the engine it built", hint="is there GPU memory left?")
    return engine


def _cached(place: Path, key: EngineKey, runtime: trt.Runtime) -> tuple[trt.ICudaEngine | None, str]:
    """The cached engine, or what is wrong with it."""
    entry = find(place, key)
    if entry.payload is None:
        return None, entry.problem
    return runtime.deserialize_cuda_engine(entry.payload), "is refused by TensorRT"


def _build(path: Path, recipe: BuildRecipe, folder: Path, key: EngineKey, log: Log) -> bytes:
    """Builds with the timings of earlier builds, and keeps the new ones."""
    timings = timing_path(folder, key)
    shared = msgspec.structs.replace(key, content="timings")
    built = build(path.read_bytes(), recipe, find(timings, shared).payload or b"", log)
    if built.timings:
        keep(lambda: store(timings, shared, built.timings), folder)
    return built.plan


def _spec(engine: trt.ICudaEngine, name: str) -> TensorSpec:
    kinds = {
        trt.DataType.FLOAT: "float32", trt.DataType.HALF: "float16", trt.DataType.UINT8: "uint8",
        trt.DataType.INT64: "int64",
    }  # fmt: skip
    kind = engine.get_tensor_dtype(name)
    shape = sizes(engine.get_tensor_shape(name))
    if kind not in kinds:
        raise EngineError(NAME, f"`{name}` has the type `{kind}`", hint="export the model again")
    axes = (LENGTH if axis < 0 else axis for axis in shape[1:])
    return TensorSpec(name=name, dtype=kinds[kind], shape=("batch", *axes))
