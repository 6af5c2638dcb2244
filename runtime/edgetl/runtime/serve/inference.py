"""The Open Inference Protocol v2 without a transport: tensors in, tensors out, checked against the model.

Reference: https://github.com/kserve/open-inference-protocol, and Triton's extensions for binary tensor data and for
classification, https://github.com/triton-inference-server/server/tree/main/docs/protocol.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from edgetl.errors import suggest
from edgetl.runtime.serve.refusals import Malformed
from edgetl.types import Array, Outputs, TensorSpec

DATATYPES = {"uint8": "UINT8", "int64": "INT64", "float32": "FP32", "float16": "FP16"}
"""numpy's name of an element type → the protocol's."""

_WORDS = {np.dtype(name): word for name, word in DATATYPES.items()}
"""numpy takes longer to say the name of a type than to find it."""

NO_BOUNDS: Mapping[str, int] = {}
MAX_DIMENSIONS = 8
MAX_BATCH = 2**31


class Tensor(msgspec.Struct, kw_only=True):
    """An input as it came: `data` is a list from JSON, or the bytes of the elements, little endian, row by row."""

    name: str
    shape: Sequence[int]
    datatype: str
    data: Any


class Wanted(msgspec.Struct, kw_only=True):
    """An output that is asked for; `classes` > 0 asks for that many labels instead of numbers."""

    name: str
    classes: int = 0


def feeds(
    tensors: Sequence[Tensor], specs: Sequence[TensorSpec], longest: Mapping[str, int] = NO_BOUNDS
) -> dict[str, Array]:
    """The model's inputs as arrays, all of one batch. Raises Malformed for what does not fit.

    `longest`: what dynamic axes hold at most, by their name, which inputs share.
    """
    expected = {spec.name: spec for spec in specs}
    found: dict[str, Array] = {}
    for tensor in tensors:
        if tensor.name not in expected:
            raise Malformed(f"no input `{tensor.name[:100]}`; {suggest(tensor.name[:100], expected, what='inputs')}")
        if tensor.name in found:
            raise Malformed(f"input `{tensor.name}` is given twice")
        found[tensor.name] = _array(tensor, expected[tensor.name], longest)
    if missing := sorted(set(expected) - set(found)):
        raise Malformed(f"input `{missing[0]}` is missing")
    if len({len(array) for array in found.values()}) != 1:
        raise Malformed("the inputs have different batch sizes")
    for axis in longest:
        sizes = {found[spec.name].shape[at] for spec in specs for at, name in enumerate(spec.shape) if name == axis}
        if len(sizes) > 1:
            raise Malformed(f"the inputs differ in `{axis}`")
    return found


def results(outputs: Outputs, wanted: Sequence[Wanted], labels: Sequence[str]) -> list[tuple[str, Array]]:
    """Name and array of each output that is wanted, all of them when none is named. Raises Malformed.

    Classes come as an array of bytes objects, `VALUE:INDEX:LABEL`, best first.
    """
    if not wanted:
        return list(outputs.items())
    if len({each.name for each in wanted}) != len(wanted):
        raise Malformed("an output is asked for twice")
    found = []
    for each in wanted:
        if each.name not in outputs:
            raise Malformed(f"no output `{each.name[:100]}`; {suggest(each.name[:100], outputs, what='outputs')}")
        array = outputs[each.name]
        found.append((each.name, _classes(array, each.classes, labels) if each.classes else array))
    return found


def datatype(array: Array) -> str:
    """The protocol's name for the elements of an output."""
    return "BYTES" if array.dtype == object else _WORDS[array.dtype]


def length_prefixed(array: Array) -> bytes:
    """An array of bytes objects as the protocol sends it: each after its length in four bytes, little endian."""
    return b"".join(len(element).to_bytes(4, "little") + element for element in array.ravel())


def tensor_metadata(specs: Sequence[TensorSpec]) -> list[dict[str, object]]:
    """Name, datatype and shape of inputs or outputs; the batch is −1."""
    return [
        {
            "name": spec.name,
            "datatype": DATATYPES[spec.dtype],
            "shape": [axis if isinstance(axis, int) else -1 for axis in spec.shape],
        }
        for spec in specs
    ]


def _array(tensor: Tensor, spec: TensorSpec, longest: Mapping[str, int]) -> Array:
    shape = tuple(tensor.shape)
    if tensor.datatype != DATATYPES[spec.dtype]:
        raise Malformed(f"`{spec.name}` has datatype `{tensor.datatype[:20]}`, not {DATATYPES[spec.dtype]}")
    if not _fits(shape, spec, longest):
        wanted = [f"{axis} ≤ {longest[axis]}" if axis in longest else axis for axis in map(str, spec.shape)]
        raise Malformed(f"`{spec.name}` has shape {list(shape[:MAX_DIMENSIONS])}, not [{', '.join(wanted)}]")
    count = math.prod(shape)
    kind = np.dtype(spec.dtype)
    if isinstance(tensor.data, bytes | memoryview):
        if len(tensor.data) != count * kind.itemsize:
            raise Malformed(f"`{spec.name}` has {len(tensor.data)} bytes, {count * kind.itemsize} belong to its shape")
        return np.frombuffer(tensor.data, kind.newbyteorder("<")).reshape(shape)
    return _from_numbers(tensor.data, spec, count).reshape(shape)


def _fits(shape: tuple[int, ...], spec: TensorSpec, longest: Mapping[str, int]) -> bool:
    """Whether a shape is the model's; a dynamic axis holds one at least."""
    if len(shape) != len(spec.shape) or not 1 <= shape[0] < MAX_BATCH:
        return False
    return all(
        1 <= size <= longest.get(axis, MAX_BATCH) if isinstance(axis, str) else size == axis
        for size, axis in zip(shape[1:], spec.shape[1:], strict=True)
    )


def _from_numbers(data: object, spec: TensorSpec, count: int) -> Array:
    """Flat or nested lists of numbers, every one of which the element type holds."""
    numbers = _flat(data, spec.name)
    # before numpy sees them: it would write a list with one long text in it as that many texts of this length
    types = set(map(type, numbers))
    if len(numbers) != count or not types <= {int, float}:
        raise Malformed(f"the data of `{spec.name}` is not {count} numbers")
    kind = np.dtype(spec.dtype)
    if kind.kind in "ui":
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        if float in types or not low <= min(numbers) <= max(numbers) <= high:
            raise Malformed(f"the data of `{spec.name}` is not whole numbers from {low} to {high}")
    try:
        with np.errstate(over="ignore"):
            array = np.array(numbers, dtype=kind)
    except OverflowError as error:
        raise Malformed(f"the data of `{spec.name}` is more than {DATATYPES[spec.dtype]} holds") from error
    if not np.isfinite(array).all():
        raise Malformed(f"the data of `{spec.name}` is more than {DATATYPES[spec.dtype]} holds")
    return array


def _flat(data: object, name: str) -> list[Any]:
    """The elements of lists within lists, all of one level of the same length."""
    level = data
    for _ in range(MAX_DIMENSIONS):
        if not isinstance(level, list):
            break
        if not level or type(level[0]) is not list:
            return level
        if set(map(type, level)) != {list} or len(set(map(len, level))) != 1:
            raise Malformed(f"the data of `{name}` is ragged")
        level = list(itertools.chain.from_iterable(level))
    raise Malformed(f"the data of `{name}` is no list of numbers")


def _classes(array: Array, count: int, labels: Sequence[str]) -> Array:
    """The `count` largest of each row, shape (batch, count), as Triton's classification extension writes them."""
    if count < 0:
        raise Malformed("parameter `classification` must not be negative")
    if array.ndim != 2 or array.shape[1] != len(labels):
        raise Malformed("only an output with one value for each label can be asked for classes")
    best = np.argsort(-array, axis=1, kind="stable")[:, :count]
    rows = [[f"{row[i]:f}:{i}:{labels[i]}".encode() for i in order] for row, order in zip(array, best, strict=True)]
    found = np.empty(best.shape, dtype=object)
    found[:] = rows
    return found


def parameter(parameters: Mapping[str, Any], name: str, kind: type[Any], default: Any) -> Any:
    """A parameter of the type it must have; a bool is no number. Raises Malformed."""
    value = parameters.get(name, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Malformed(f"parameter `{name}` must be {kind.__name__}")
    return value
