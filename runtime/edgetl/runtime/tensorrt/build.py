"""Typed ONNX → a serialised engine for this GPU, through the part of the API that TensorRT 10.12 and 11 share."""

from typing import Any

import msgspec
import tensorrt as trt

from edgetl.errors import EngineError
from edgetl.runtime.tensorrt.batches import profile_shapes
from edgetl.runtime.tensorrt.recipe import BuildRecipe

NAME = "tensorrt"
COMPATIBILITY = {
    "none": trt.HardwareCompatibilityLevel.NONE,
    "ampere+": trt.HardwareCompatibilityLevel.AMPERE_PLUS,
}


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A serialised engine, and the kernel timings to keep (empty when the recipe wants none)."""

    plan: bytes
    timings: bytes


class Log(trt.ILogger):  # type: ignore[misc]
    """Keeps TensorRT's errors, so that they stand in the exception instead of on the console."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.errors.append(msg)

    def failure(self, what: str, *, hint: str) -> EngineError:
        """`what` with the last thing TensorRT said."""
        said = f": {self.errors[-1].strip().splitlines()[0][:300]}" if self.errors and self.errors[-1].strip() else ""
        return EngineError(NAME, f"{what}{said}", hint=hint)


def build(model: bytes, recipe: BuildRecipe, timings: bytes, log: Log) -> Built:
    """Builds the engine of a typed ONNX model for the selected GPU; takes from seconds to many minutes.

    `timings`: of earlier builds, or empty. Raises EngineError with what TensorRT said.
    """
    builder = trt.Builder(log)
    # TensorRT 11 types every network strongly and ignores the flag
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(network, model, log)
    config = _configuration(builder, recipe)
    config.add_optimization_profile(_profile(builder, network, recipe))
    cache = _timing_cache(config, timings) if recipe.timing_cache else None
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise log.failure("cannot build the engine", hint="is there GPU memory left, and does the GPU know this type?")
    return Built(plan=_bytes(plan), timings=b"" if cache is None else _bytes(cache.serialize()))


def sizes(dimensions: trt.Dims) -> tuple[int, ...]:
    """TensorRT's own tuple of axis sizes, −1 for a dynamic one, as Python's."""
    return tuple(dimensions[axis] for axis in range(len(dimensions)))


def _bytes(memory: Any) -> bytes:
    """TensorRT's host memory offers Python's buffer protocol, which its types do not say."""
    return bytes(memoryview(memory))


def _parse(network: trt.INetworkDefinition, model: bytes, log: Log) -> None:
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        said = parser.get_error(0).desc() if parser.num_errors else "no reason given"
        raise EngineError(NAME, f"cannot parse the model: {said}", hint="export it again")


def _configuration(builder: trt.Builder, recipe: BuildRecipe) -> trt.IBuilderConfig:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, recipe.workspace_bytes)
    if recipe.tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)  # TensorRT sets it by itself
    if recipe.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    config.hardware_compatibility_level = COMPATIBILITY[recipe.hardware_compatibility]
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else the inspector does not name precisions
    return config


def _profile(builder: trt.Builder, network: trt.INetworkDefinition, recipe: BuildRecipe) -> trt.IOptimizationProfile:
    """One profile: every input takes the recipe's batch sizes, and its lengths where it has one."""
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shapes = profile_shapes(sizes(tensor.shape), recipe)
        profile.set_shape(tensor.name, *(trt.Dims(list(shape)) for shape in shapes))
    return profile


def _timing_cache(config: trt.IBuilderConfig, timings: bytes) -> trt.ITimingCache:
    """The timings of earlier builds; those TensorRT does not accept are forgotten."""
    for content in (timings, b""):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache
    raise EngineError(NAME, "cannot make a timing cache", hint="set `timing_cache` to false in `build.json`")
