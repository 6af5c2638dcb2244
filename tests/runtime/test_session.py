"""Embedding: load, predict, infer, close; the same pixels as in training; no other precision than declared."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from tests.conftest import Cli

from edgetl.bundle import open_bundle
from edgetl.errors import ArtefactError, ConfigError, DataError, EngineError
from edgetl.export.planting import rehash
from edgetl.finetune.cache.pictures import decode_once
from edgetl.finetune.cache.room import open_cache
from edgetl.finetune.data.dataset import read_dataset
from edgetl.manifest import Manifest
from edgetl.run import open_run
from edgetl.runtime import load
from edgetl.runtime.bench import BenchOptions, bench
from edgetl.types import silent


def test_every_kind_of_sample_gives_the_same_answer(bundle: Path, dataset: Path) -> None:
    path = next((dataset / "val" / "moss").iterdir())
    image = Image.open(path)
    rgb = np.asarray(image)
    with load(bundle) as model:
        answers = [model.predict(sample) for sample in (path, str(path), path.read_bytes(), image, rgb)]
        answers.append(model.predict(rgb[..., ::-1], color="bgr"))
        many = model.predict([path] * 20, top=1)
    assert len(set(answers)) == 1 and answers[0].label == "moss"
    assert len(many) == 20 and len(many[0].top) == 1
    assert sum(each.probability for each in answers[0].top) == pytest.approx(1, abs=1e-5)


def test_training_evaluation_and_session_see_the_same_pixels(run: Path, bundle: Path, dataset: Path) -> None:
    _, task, _ = open_run(run)
    samples = read_dataset(dataset, seed=0).split("val")
    trained = decode_once(samples, dataset, task.input, open_cache(), silent)[0].read(np.arange(len(samples)))
    with load(bundle) as model:
        seen = model.task.preprocess([dataset / sample.path for sample in samples])["image"]
    assert np.array_equal(trained, seen)


def test_a_broken_image_is_a_data_error(bundle: Path) -> None:
    with load(bundle) as model, pytest.raises(DataError):
        model.predict(b"no image")


def test_a_closed_session_says_so(bundle: Path) -> None:
    model = load(bundle)
    model.close()
    model.close()
    with pytest.raises(EngineError, match="closed"):
        model.predict(np.zeros((8, 8, 3), np.uint8))


def test_variant_and_engine_are_chosen(bundle: Path) -> None:
    with load(bundle, engine="openvino") as model:
        assert model.variant.id == "openvino-fp32"
        assert model.facts.provider == "CPU" and model.facts.layers == {"fp32": model.facts.layers["fp32"]}
    with load(bundle, variant="onnxruntime-int8", options={"threads": 1}) as model:
        assert (model.facts.precision, model.facts.threads) == ("int8", 1)
    with pytest.raises(ArtefactError, match="has no variant") as caught:
        load(bundle, variant="openvino-int9")
    assert "openvino-int8" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="unknown engine"):
        load(bundle, engine="openvinno")
    with pytest.raises(ConfigError, match="thread"):
        load(bundle, options={"thread": 1})


def test_a_plan_chooses_for_its_device(own_bundle: Path) -> None:
    (own_bundle / "plans").mkdir()
    plan = {"schema": "1.0", "variant": "openvino-int8", "options": {"threads": 1}}
    (own_bundle / "plans" / "camera.json").write_text(json.dumps(plan))
    with load(own_bundle, device="camera") as model:
        assert model.variant.id == "openvino-int8" and model.facts.threads == 1
    with pytest.raises(ConfigError, match="no plan"):
        load(own_bundle, device="camara")
    with pytest.raises(ArtefactError, match="leaves"):
        load(own_bundle, device="../../../etc/passwd")


def _change_variant(folder: Path, name: str, **changes: object) -> None:
    def change(manifest: Manifest) -> Manifest:
        variants = tuple(msgspec.structs.replace(v, **changes) if v.id == name else v for v in manifest.variants)
        return msgspec.structs.replace(manifest, variants=variants)

    rehash(folder, change)


def test_a_failed_variant_is_not_opened_unless_named(own_bundle: Path) -> None:
    _change_variant(own_bundle, "onnxruntime-fp32", status="failed")
    with load(own_bundle) as model:
        assert model.variant.id == "onnxruntime-int8"
    with load(own_bundle, variant="onnxruntime-fp32") as model:
        assert model.variant.status == "failed"


def test_another_precision_than_declared_is_refused(own_bundle: Path) -> None:
    with pytest.raises(ConfigError, match="declares `inference_precision = fp32`"):
        load(own_bundle, variant="openvino-fp32", options={"inference_precision": "bf16"})
    _change_variant(own_bundle, "onnxruntime-fp32", precision="int8")
    with pytest.raises(EngineError, match="declared int8, but onnxruntime runs only 0%"):
        load(own_bundle, variant="onnxruntime-fp32")
    _change_variant(own_bundle, "openvino-int8", precision="fp32")
    with pytest.raises(EngineError, match="declared fp32, but openvino runs"):
        load(own_bundle, variant="openvino-int8")


def test_the_cpu_does_not_stand_in_for_a_gpu(bundle: Path) -> None:
    """On a machine without a GPU ONNX Runtime would open the model on the CPU and only log it."""
    with pytest.raises(EngineError, match="onnxruntime: "):
        load(bundle, variant="onnxruntime-fp32", options={"provider": "cuda"})


def test_feeds_that_do_not_fit_are_an_engine_error(bundle: Path) -> None:
    for engine in ("onnxruntime", "openvino"):
        with load(bundle, engine=engine) as model, pytest.raises(EngineError):
            model.infer({"image": np.zeros((1, 9, 9, 3), np.uint8)})


def test_bench_counts_what_it_measured(bundle: Path) -> None:
    options = BenchOptions(min_seconds=0.0, min_queries=120, warmup_queries=2)
    with load(bundle, variant="openvino-int8") as model:
        result = bench(model, options)
    single, offline = result.scenarios.single_stream, result.scenarios.offline
    assert single.samples == 120 and single.p99_ms is not None
    assert 0 < single.p50_ms <= single.p90_ms <= single.p99_ms
    assert offline.per_second > 0 and offline.samples % offline.batch == 0


def test_measurements_lie_beside_the_signed_content(own_bundle: Path, cli: Cli) -> None:
    before = (own_bundle / "manifest.json").read_bytes()
    assert cli("bench", own_bundle, "--seconds", "0.1", "--variants", "openvino-int8", "--json").exit_code == 0
    assert (own_bundle / "manifest.json").read_bytes() == before
    inspected = json.loads(cli("inspect", own_bundle, "--json").stdout)
    assert inspected["measurements"][-1]["command"] == "bench" and inspected["schema"] == "1.2"
    assert open_bundle(own_bundle)
