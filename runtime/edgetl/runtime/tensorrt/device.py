"""The GPU through CUDA's own Python binding: what it is, its memory, and copies to and from it."""

import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cuda.bindings import runtime as cuda

from edgetl.errors import EngineError
from edgetl.types import Array

MODULE_VERSION = Path("/proc/driver/nvidia/version")


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU; `driver` names the kernel module's version, where it says so, and the newest CUDA it runs."""

    index: int
    name: str
    compute_capability: str
    processors: int
    driver: str


def describe(index: int) -> Gpu:
    """Selects GPU `index` and says what it is. Raises EngineError when there is none, or no driver."""
    (count,) = _call(cuda.cudaGetDeviceCount())
    if index >= count:
        raise EngineError("tensorrt", f"there is no GPU `{index}`, this machine has {count}", hint="set `device`")
    select(index)
    (found,) = _call(cuda.cudaGetDeviceProperties(index))
    (version,) = _call(cuda.cudaDriverGetVersion())
    text = MODULE_VERSION.read_text() if MODULE_VERSION.is_file() else ""
    return Gpu(
        index=index,
        name=found.name.split(b"\0")[0].decode(errors="replace"),
        compute_capability=f"{found.major}.{found.minor}",
        processors=found.multiProcessorCount,
        driver=f"{module_version(text)}/{version}",
    )


def module_version(text: str) -> str:
    """The version in `/proc/driver/nvidia/version`; `unknown` where there is none, as on a Jetson."""
    found = re.search(r"Kernel Module\b.*?\s(\d+(?:\.\d+)+)", text)
    return found.group(1) if found else "unknown"


def select(index: int) -> None:
    """Makes GPU `index` the calling thread's; each thread has its own."""
    _call(cuda.cudaSetDevice(index))


class Stream:
    """A queue of work on the selected GPU."""

    def __init__(self) -> None:
        (self._stream,) = _call(cuda.cudaStreamCreate())
        self.handle = int(self._stream)

    def upload(self, target: "Buffer", value: Array) -> None:
        """Queues the copy of a contiguous array; it must stay alive until `wait` returns."""
        kind = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        _call(cuda.cudaMemcpyAsync(target.address, value.ctypes.data, _fits(value, target), kind, self._stream))

    def download(self, source: "Buffer", shape: tuple[int, ...], dtype: str) -> Array:
        """Queues the copy into a fresh array, which is filled once `wait` returns."""
        value = np.empty(shape, dtype)
        kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _call(cuda.cudaMemcpyAsync(value.ctypes.data, source.address, _fits(value, source), kind, self._stream))
        return value

    def wait(self) -> None:
        _call(cuda.cudaStreamSynchronize(self._stream))

    def close(self) -> None:
        _call(cuda.cudaStreamDestroy(self._stream))


class Buffer:
    """Memory on the selected GPU."""

    def __init__(self, size: int) -> None:
        self.size = size
        (address,) = _call(cuda.cudaMalloc(size))
        self.address = int(address)

    def close(self) -> None:
        _call(cuda.cudaFree(self.address))


def _fits(value: Array, buffer: Buffer) -> int:
    if value.nbytes > buffer.size or not value.flags.c_contiguous:
        raise EngineError("tensorrt", f"{value.nbytes} bytes do not fit a buffer of {buffer.size}")
    return value.nbytes


def _call(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a call returned, without its status. Raises EngineError with CUDA's own words for any but success."""
    status, *values = answer
    if status != cuda.cudaError_t.cudaSuccess:
        _, text = cuda.cudaGetErrorString(status)
        message = text.decode(errors="replace") if isinstance(text, bytes) else str(status)
        raise EngineError("tensorrt", f"CUDA: {message}", hint="is a GPU there, and its driver installed?")
    return tuple(values)
