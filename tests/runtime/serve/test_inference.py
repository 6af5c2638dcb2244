"""What is checked before a tensor reaches an engine, whatever brought it here."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from edgetl.runtime.serve.inference import Tensor, Wanted, feeds, results
from edgetl.runtime.serve.refusals import Malformed
from edgetl.types import Array, TensorSpec

PIXELS = TensorSpec(name="image", dtype="uint8", shape=("batch", 2, 3))
FLOATS = TensorSpec(name="values", dtype="float32", shape=("batch", 2))
LABELS = ("amber", "moss")


def fed(data: object, spec: TensorSpec = PIXELS, shape: tuple[int, ...] = (1, 2, 3)) -> Array:
    datatype = {"uint8": "UINT8", "float32": "FP32"}[spec.dtype]
    return feeds([Tensor(name=spec.name, shape=shape, datatype=datatype, data=data)], [spec])[spec.name]


def test_bytes_and_lists_flat_or_nested_are_the_same_tensor() -> None:
    expected = np.array([[[0, 1, 2], [3, 4, 255]]], np.uint8)
    for data in (bytes([0, 1, 2, 3, 4, 255]), [0, 1, 2, 3, 4, 255], [[[0, 1, 2], [3, 4, 255]]], [[0, 1, 2, 3, 4, 255]]):
        found = fed(data)
        assert found.dtype == np.uint8 and np.array_equal(found, expected)
    floats = fed([1, -2.5], FLOATS, (1, 2))
    assert floats.dtype == np.float32 and floats.tolist() == [[1.0, -2.5]]
    assert np.array_equal(fed(np.array([1, -2.5], np.float32).tobytes(), FLOATS, (1, 2)), floats)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([0, 1, 2, 3, 4], "is not 6 numbers"),
        ([0, 1, 2, 3, 4, 5, 6], "is not 6 numbers"),
        ([0, 1, 2, 3, 4, True], "is not 6 numbers"),
        ([0, 1, 2, 3, 4, "5"], "is not 6 numbers"),
        ([0, 1, 2, 3, 4, None], "is not 6 numbers"),
        ([0, 1, 2, 3, 4, {}], "is not 6 numbers"),
        ([0, 1, 2, 3, 4, [5]], "is not 6 numbers"),
        ([0, 1, 2, 3, 4, 5.0], "whole numbers from 0 to 255"),
        ([0, 1, 2, 3, 4, 256], "whole numbers from 0 to 255"),
        ([0, 1, 2, 3, 4, -1], "whole numbers from 0 to 255"),
        ([0, 1, 2, 3, 4, 10**400], "whole numbers from 0 to 255"),
        ([[0, 1, 2], [3, 4]], "ragged"),
        ([[0, 1, 2], 3, 4, 5], "ragged"),
        ([[0, 1, 2], "345"], "ragged"),
        ([[[[[[[[[0, 1, 2, 3, 4, 5]]]]]]]]], "no list of numbers"),
        ({"0": 1}, "no list of numbers"),
        ("012345", "no list of numbers"),
        (None, "no list of numbers"),
        (b"01234", "5 bytes, 6 belong to its shape"),
    ],
)
def test_what_is_no_tensor_of_pixels_is_refused(data: object, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        fed(data)


@pytest.mark.parametrize("data", [[1e39, 0], [10**400, 0], [float("inf"), 0]])
def test_numbers_that_the_type_does_not_hold_are_refused(data: list[Any]) -> None:
    with pytest.raises(Malformed, match="more than FP32 holds"):
        fed(data, FLOATS, (1, 2))


@pytest.mark.parametrize("shape", [(), (0, 2, 3), (-1, 2, 3), (1, 3, 2), (6,), (10**18, 2, 3), (10**4299, 2, 3)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(Malformed, match="shape"):
        fed(bytes(6), shape=shape)


def test_one_long_text_among_many_numbers_costs_no_memory() -> None:
    data = [*[1] * 20_000, "x" * 20_000]  # as numpy's texts of one length: 1.6 GB
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            fed(data, shape=(1, 2, 3))
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


def test_an_output_is_sent_once_and_classes_are_counted() -> None:
    outputs = {"probabilities": np.array([[0.25, 0.75]], np.float32)}
    ((_, found),) = results(outputs, [Wanted(name="probabilities", classes=5)], LABELS)
    assert found.tolist() == [[b"0.750000:1:moss", b"0.250000:0:amber"]], "no more classes than there are"
    for wanted, reason in (
        ([Wanted(name="probabilities")] * 2, "asked for twice"),
        ([Wanted(name="probabilities", classes=-1)], "must not be negative"),
    ):
        with pytest.raises(Malformed, match=reason):
            results(outputs, wanted, LABELS)
