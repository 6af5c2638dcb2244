"""Many callers at once: the same answers as one, counted right, and a failure that comes through."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edgetl.errors import EngineError
from edgetl.runtime import load
from edgetl.runtime.session import sample_feeds
from edgetl.runtime.throughput import BLOCKS, Load, batches, throughput
from edgetl.types import Feeds

ENGINES = ("onnxruntime", "openvino")


@pytest.mark.parametrize("engine", ENGINES)
def test_eight_threads_get_the_answers_of_one(bundle: Path, engine: str) -> None:
    with load(bundle, engine=engine) as model:
        pixels = sample_feeds(model.bundle, 40)["image"]
        feeds: list[Feeds] = [{"image": pixels[i : i + 1]} for _ in range(4) for i in range(len(pixels))]
        serial = [model.infer(each)["logits"] for each in feeds]
        with ThreadPoolExecutor(8) as callers:
            together = [outputs["logits"] for outputs in callers.map(model.infer, feeds)]
    assert np.array_equal(np.concatenate(serial), np.concatenate(together))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_query_that_fails_spoils_no_other(bundle: Path, engine: str) -> None:
    with load(bundle, engine=engine) as model:
        right = sample_feeds(model.bundle, 1)
        before = model.infer(right)["logits"]
        with pytest.raises(EngineError):
            model.infer({"image": np.zeros((1, 9, 9, 3), np.uint8)})
        assert np.array_equal(model.infer(right)["logits"], before)


def test_a_model_compiled_for_one_size_answers_others_too(bundle: Path) -> None:
    with load(bundle, engine="openvino") as free, load(bundle, engine="openvino", options={"batch": 4}) as fixed:
        assert fixed.facts.layers == free.facts.layers
        for count in (1, 4, 7):
            feeds = sample_feeds(free.bundle, count)
            np.testing.assert_allclose(fixed.infer(feeds)["logits"], free.infer(feeds)["logits"], atol=1e-4)
        with pytest.raises(EngineError):
            fixed.infer({"image": np.zeros((4, 9, 9, 3), np.uint8)})


@pytest.mark.parametrize("concurrency", [1, 3])
def test_all_batches_count_and_the_bounds_hold_the_value(bundle: Path, concurrency: int) -> None:
    with load(bundle, engine="openvino", options={"hint": "throughput"}) as model:
        found = throughput(model, Load(batch=4, concurrency=concurrency, min_seconds=0.2))
    assert found.samples % 4 == 0 and found.samples >= 8 * 4 * concurrency
    assert found.low is not None and found.high is not None and found.low <= found.per_second <= found.high


def test_what_is_measured_is_samples_over_the_time_of_all(bundle: Path) -> None:
    """A clock that moves one second whenever it is read."""
    seconds = iter(range(10_000))
    with load(bundle, engine="onnxruntime") as model:
        found = throughput(model, Load(batch=2, min_seconds=0.0), clock=lambda: float(next(seconds)))
    # one reading at the start, then one before and one after each of the eight batches
    assert found.samples == 16 and found.per_second == pytest.approx(16 / 16)
    assert found.low is None, f"eight batches are too few for {BLOCKS} stretches"


def test_batches_have_their_size(bundle: Path) -> None:
    with load(bundle, engine="onnxruntime") as model:
        for size in (1, 4, 100):
            found = batches(model.bundle, size)
            assert len(found) >= 2 and {len(feeds["image"]) for feeds in found} == {size}


def test_a_callers_failure_is_raised(bundle: Path) -> None:
    with load(bundle, engine="openvino") as model, pytest.raises(EngineError):
        throughput(model, Load(concurrency=2), [{"image": np.zeros((1, 9, 9, 3), np.uint8)}])
