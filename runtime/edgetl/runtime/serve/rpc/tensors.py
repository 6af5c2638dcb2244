"""Tensors of the protocol's messages: inputs as they came, outputs as raw bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgetl.runtime.serve.inference import Tensor, Wanted, datatype, length_prefixed, parameter
from edgetl.runtime.serve.refusals import Malformed
from edgetl.types import Array

CONTENTS = {"UINT8": "uint_contents", "INT64": "int64_contents", "FP32": "fp32_contents"}
"""Datatype → the field that holds its numbers; FP16 has none and travels as raw bytes."""

SHARED_MEMORY = "shared_memory_region"


def tensors(request: Any) -> list[Tensor]:
    """The inputs of a request, all of them as raw bytes or each as numbers. Raises Malformed."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Malformed(f"{len(raw)} raw contents belong to {len(request.inputs)} inputs")
    return [_tensor(each, raw[i] if raw else None) for i, each in enumerate(request.inputs)]


def wanted(request: Any) -> list[Wanted]:
    """The outputs that are asked for. Raises Malformed."""
    found = []
    for each in request.outputs:
        parameters = _parameters(each)
        found.append(Wanted(name=each.name, classes=parameter(parameters, "classification", int, 0)))
    return found


def add_outputs(response: Any, found: Sequence[tuple[str, Array]]) -> None:
    """Writes each output and its elements, little endian, row by row."""
    for name, array in found:
        response.outputs.add(name=name, datatype=datatype(array), shape=array.shape)
        response.raw_output_contents.append(
            length_prefixed(array) if array.dtype == object else np.ascontiguousarray(array).tobytes()
        )


def _tensor(given: Any, raw: bytes | None) -> Tensor:
    _parameters(given)
    if raw is not None and given.HasField("contents"):
        raise Malformed(f"`{given.name[:100]}` has both contents and raw contents")
    data = raw if raw is not None else _numbers(given)
    return Tensor(name=given.name, shape=given.shape, datatype=given.datatype, data=data)


def _numbers(given: Any) -> list[Any]:
    """What the field for the input's datatype holds; a datatype that has none is refused."""
    if given.datatype not in CONTENTS:
        raise Malformed(f"`{given.name[:100]}` with datatype `{given.datatype[:20]}` needs raw contents")
    return list(getattr(given.contents, CONTENTS[given.datatype]))


def _parameters(given: Any) -> Mapping[str, Any]:
    """Name → value. A tensor in shared memory is refused: what the client reads or writes there is not ours."""
    found = {name: _value(value) for name, value in given.parameters.items()}
    if SHARED_MEMORY in found:
        raise Malformed(f"`{given.name[:100]}` is in shared memory, which this server does not use")
    return found


def _value(given: Any) -> Any:
    choice = given.WhichOneof("parameter_choice")
    return getattr(given, choice) if choice else None
