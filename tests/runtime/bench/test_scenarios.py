"""The scenarios on real engines: what is counted, what is timed, from which inputs, and what a fresh process says."""

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from edgetl.bundle import open_bundle
from edgetl.errors import ConfigError, DataError, EngineError
from edgetl.export.planted.planting import rehash
from edgetl.manifest import GoldenRecord, Manifest
from edgetl.runtime import Session, load
from edgetl.runtime.bench import BenchOptions, bench, single_stream
from edgetl.runtime.bench.coldstart import cold_start
from edgetl.runtime.bench.first_answer import peak_bytes
from edgetl.runtime.bench.inputs import queries, read_inputs
from edgetl.runtime.bench.percentiles import LEAST
from edgetl.types import Array, Feeds, Outputs

SHORT = BenchOptions(
    min_seconds=0.0, min_queries=150, trial_queries=40, max_seconds=1.0, warmup_queries=2, warmup_seconds=0.1
)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_every_scenario_counts_what_it_measured(bundle: Path, engine: str) -> None:
    options = msgspec.structs.replace(
        SHORT, scenarios=("single-stream", "multi-stream", "offline", "server"), concurrency=2, bound_ms=5.0
    )
    raw: dict[str, Array] = {}
    with load(bundle, engine=engine) as model:
        name = model.variant.id
        found = bench(model, options, keep=raw.__setitem__).scenarios
    single, multi, offline, server = found.single_stream, found.multi_stream, found.offline, found.server
    assert single and multi and offline and server and found.cold_start is None
    assert single.samples == 150 and 0 < single.p50_ms <= (single.p90_ms or single.p50_ms)
    assert single.p99_ms is None, "150 queries have no bound for it"
    assert multi.queries == 150 and multi.samples_per_query == 8
    assert offline.samples % 16 == 0 and offline.concurrency == 2 and offline.per_second > 0
    assert server.trials and server.concurrency == 2
    assert server.samples == sum(t.queries for t in server.trials if t.per_second == server.per_second)
    for scenario, part in (
        ("single-stream", single),
        ("multi-stream", multi),
        ("offline", offline),
        ("server", server),
    ):
        assert part.warmup and part.warmup.queries > 0 and part.noise and part.noise.seconds > 0
        assert np.all(raw[f"{name}/{scenario}/engine"] > 0)
    np.testing.assert_allclose(np.quantile(raw[f"{name}/single-stream/engine"], 0.5), single.p50_ms)


def test_only_what_was_asked_for_is_in_the_json(bundle: Path) -> None:
    with load(bundle, engine="onnxruntime") as model:
        found = bench(model, msgspec.structs.replace(SHORT, scenarios=("multi-stream",)))
    assert set(msgspec.to_builtins(found)["scenarios"]) == {"multi-stream"}


def test_a_slow_model_still_has_a_median(bundle: Path) -> None:
    with load(bundle, engine="onnxruntime") as model:
        found = single_stream(model, msgspec.structs.replace(SHORT, max_seconds=0.0))
    assert found.samples == LEAST and found.bounds_ms["p50"][1] is not None and found.p90_ms is None


class Recording(Session):
    """A real session that remembers what its engine was asked."""

    asked: list[Feeds]

    def infer(self, feeds: Feeds) -> Outputs:
        self.asked.append(feeds)
        return super().infer(feeds)


@pytest.mark.parametrize("timed", ["engine", "preprocessing", "bytes"])
def test_each_way_of_timing_asks_the_same_pixels(own_bundle: Path, dataset: Path, timed: str) -> None:
    opened = open_bundle(own_bundle)
    inputs = read_inputs(opened, dataset / "val")
    model = Recording(opened, opened.variant("onnxruntime-fp32"), {})
    model.asked = []
    with model:
        ask = queries(model, inputs, timed, 4)  # type: ignore[arg-type]
        for number in range(3):
            ask(number)
        seen = np.concatenate([feeds["image"] for feeds in model.asked])
    assert np.array_equal(seen, inputs.feeds["image"][:12])
    assert len({image.tobytes() for image in seen}) == 12, "another image for each query"


def test_several_ways_of_timing_stand_side_by_side(bundle: Path) -> None:
    options = msgspec.structs.replace(SHORT, scenarios=("single-stream",), timed=("engine", "bytes"))
    with load(bundle, engine="onnxruntime") as model:
        found = bench(model, options)
    assert found.timed == "engine" and set(found.further) == {"bytes"}
    assert found.scenarios.single_stream and found.further["bytes"].single_stream
    assert "encoded images" in found.inputs


def without_golden(manifest: Manifest) -> Manifest:
    variants = tuple(msgspec.structs.replace(v, golden=None) for v in manifest.variants)
    return msgspec.structs.replace(manifest, golden=GoldenRecord(kind="none"), variants=variants)


def test_without_images_bytes_cannot_be_timed(own_bundle: Path) -> None:
    rehash(own_bundle, without_golden)
    with load(own_bundle, engine="onnxruntime") as model:
        assert "noise" in bench(model, msgspec.structs.replace(SHORT, scenarios=("single-stream",))).inputs
        with pytest.raises(ConfigError, match="carries none"):
            bench(model, msgspec.structs.replace(SHORT, timed=("bytes",)))


def test_a_folder_without_readable_images_is_a_data_error(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        read_inputs(open_bundle(bundle), tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.png"):
        read_inputs(open_bundle(bundle), tmp_path)


def test_a_folder_of_one_image_is_asked_again_and_again(bundle: Path, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), "teal").save(tmp_path / "one.png")
    with load(bundle, engine="onnxruntime") as model:
        inputs = read_inputs(model.bundle, tmp_path)
        queries(model, inputs, "bytes", 8)(0)
    assert inputs.source.endswith("1 of 1 images")


def test_a_cold_start_is_that_of_a_process_of_its_own(bundle: Path) -> None:
    found, times = cold_start(open_bundle(bundle), "onnxruntime-fp32", {"threads": 1}, 2)
    assert times.shape == (2, 3) and found.starts == 2
    assert np.all(times[:, 0] > times[:, 1] + times[:, 2]), "the first answer comes after loading and answering"
    assert found.first_answer_ms.low <= found.first_answer_ms.median <= found.first_answer_ms.high
    # this process has torch in it, the fresh one has not
    here = peak_bytes(Path("/proc/self/status"))
    assert found.peak_memory_mb and here and 10 < found.peak_memory_mb.median < here / 1e6


def test_a_cold_start_that_fails_says_why(bundle: Path, tmp_path: Path) -> None:
    opened = open_bundle(bundle)
    with pytest.raises(EngineError, match=r"cold start: .*thraeds"):
        cold_start(opened, "onnxruntime-fp32", {"thraeds": 1}, 1)
    for code, problem in (("import os; os._exit(3)", "code 3"), ("print('no report')", "no report")):
        with pytest.raises(EngineError, match=problem):
            cold_start(opened, "onnxruntime-fp32", {}, 1, command=(sys.executable, "-c", code))
    assert peak_bytes(tmp_path / "none") is None
