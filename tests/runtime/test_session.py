"""Embedding: load, predict, infer, close; the same pixels as in training; no other precision than declared."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import openvino
import pytest
from PIL import Image
from tests.conftest import Cli

from edgetl.bundle import open_bundle
from edgetl.errors import ArtefactError, ConfigError, DataError, EngineError
from edgetl.export.planted.planting import rehash
from edgetl.finetune.cache.pictures import decode_once
from edgetl.finetune.cache.room import open_cache
from edgetl.finetune.data.dataset import read_dataset
from edgetl.manifest import SCHEMA, Manifest
from edgetl.run import open_run
from edgetl.runtime import Session, load
from edgetl.runtime.lease import Lease
from edgetl.runtime.session import sample_feeds
from edgetl.tasks import ImageClassification
from edgetl.types import EngineFacts, Feeds, Outputs, TensorSpec, silent

ENGINES = ("onnxruntime", "openvino")
VARIANTS = ("onnxruntime-fp32", "onnxruntime-int8", "openvino-fp32", "openvino-int8")


def test_every_kind_of_sample_gives_the_same_answer(bundle: Path, dataset: Path) -> None:
    path = next((dataset / "val" / "moss").iterdir())
    image = Image.open(path)
    rgb, encoded = np.asarray(image), path.read_bytes()
    with load(bundle) as model:
        answers = [model.predict(sample) for sample in (path, str(path), encoded, bytearray(encoded), image, rgb)]
        answers.append(model.predict(rgb[..., ::-1], color="bgr"))
        many = model.predict([path] * 20, top=1)
    assert len(set(answers)) == 1 and answers[0].label == "moss"
    assert len(many) == 20 and len(many[0].top) == 1
    assert sum(each.probability for each in answers[0].top) == pytest.approx(1, abs=1e-5)


def test_training_evaluation_and_session_see_the_same_pixels(run: Path, bundle: Path, dataset: Path) -> None:
    _, task, _ = open_run(run)
    assert isinstance(task, ImageClassification)
    samples = read_dataset(dataset, seed=0).split("val")
    trained = decode_once(samples, dataset, task.input, open_cache(), silent)[0].read(np.arange(len(samples)))
    with load(bundle) as model:
        seen = model.bundle.preparation([dataset / sample.path for sample in samples]).feeds["image"]
    assert np.array_equal(trained, seen)


def test_bad_samples_are_data_errors(bundle: Path, dataset: Path) -> None:
    good = next((dataset / "val" / "moss").iterdir())
    nonsense: tuple[Any, ...] = (
        b"no image",
        "nowhere.jpg",
        7,
        None,
        np.zeros((8, 8)),
        np.zeros((2, 8, 8, 3), np.uint8),
        {"a": 1},
    )
    with load(bundle) as model:
        for sample in nonsense:
            with pytest.raises(DataError):
                model.predict([good, sample])
            with pytest.raises(DataError):
                model.predict(sample)
        assert model.predict(good).label == "moss"
        with pytest.raises(ConfigError, match="top"):
            model.predict(good, top=0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_list_keeps_its_order_across_pieces(engine: str, bundle: Path, dataset: Path) -> None:
    paths = [path for kind in ("slate", "amber", "moss") for path in sorted((dataset / "val" / kind).iterdir())[:11]]
    with load(bundle, engine=engine) as model:
        together, alone = model.predict(paths), [model.predict(path) for path in paths]
        assert model.predict([]) == []
    assert [each.label for each in together] == [each.label for each in alone]
    np.testing.assert_allclose(
        [each.probabilities for each in together], [each.probabilities for each in alone], atol=1e-5
    )
    first = together[0]
    assert first.top[0].label == first.label == first.labels[0] and first.probability == first.probabilities[0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_many_threads_get_the_answers_of_one(variant: str, bundle: Path) -> None:
    samples = sample_feeds(open_bundle(bundle), 64)["image"]
    with load(bundle, variant=variant) as model:

        def ask(i: int) -> bytes:
            # batches of different sizes at once: no call may see the arrays of another
            return model.infer({"image": samples[i : i + 1 + i % 3]})["logits"].tobytes()

        serial = [ask(i) for i in range(60)]
        for _ in range(3):
            with ThreadPoolExecutor(8) as pool:
                assert list(pool.map(ask, range(60))) == serial
        with ThreadPoolExecutor(8) as pool:
            predicted = list(pool.map(model.predict, samples))
        assert predicted == [model.predict(sample) for sample in samples]


def test_a_closed_session_says_so(bundle: Path) -> None:
    model = load(bundle)
    model.close()
    model.close()
    with pytest.raises(EngineError, match="closed"):
        model.predict(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(EngineError, match="closed"):
        _ = model.facts


@pytest.mark.parametrize("engine", ENGINES)
def test_closing_while_others_ask_ends_in_answers_and_engine_errors(engine: str, bundle: Path) -> None:
    feeds = sample_feeds(open_bundle(bundle), 8)
    for pause in (0.0, 0.001, 0.01):
        model = load(bundle, engine=engine)
        right = model.infer(feeds)["logits"].tobytes()

        def ask_until_closed(model: Session = model) -> set[bytes]:
            seen = set()
            while True:
                try:
                    seen.add(model.infer(feeds)["logits"].tobytes())
                except EngineError as error:
                    assert "closed" in str(error)
                    return seen

        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(ask_until_closed) for _ in range(8)]
            time.sleep(pause)
            model.close()
            assert set().union(*(each.result(timeout=60) for each in waiting)) <= {right}


def test_a_call_that_runs_when_the_session_closes_keeps_its_engine() -> None:
    """The engine is freed after the last answer, by the thread that had it, and once."""
    said: list[str] = []
    running, go_on = threading.Event(), threading.Event()

    class Slow:
        inputs: Sequence[TensorSpec] = ()
        outputs: Sequence[TensorSpec] = ()
        facts = EngineFacts(engine="slow", version="1", provider="none", precision="fp32", threads=1)

        def run(self, feeds: Feeds) -> Outputs:
            running.set()
            assert go_on.wait(60)
            said.append("answered")
            return {}

        def close(self) -> None:
            said.append("freed")

    lease = Lease(Slow(), "slow")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lease.run, {})
        assert running.wait(60)
        lease.close()
        assert said == []
        go_on.set()
        assert answer.result(60) == {}
    lease.close()
    assert said == ["answered", "freed"]


OPEN_AND_CLOSE = r"""
import re, sys
from edgetl.runtime import Session, load
from edgetl.runtime.session import sample_feeds
from edgetl.bundle import open_bundle
samples = sample_feeds(open_bundle(sys.argv[1]), 16)["image"]
def resident_kb():
    return int(re.search(r"VmRSS:\s+(\d+)", open("/proc/self/status").read()).group(1))
seen = []
for _ in range(40):
    with load(sys.argv[1], engine=sys.argv[2]) as model:
        model.predict(list(samples))
    seen.append(resident_kb())
print(min(seen[5:15]), min(seen[30:]))
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_closing_frees_what_loading_took(engine: str, bundle: Path) -> None:
    """The lowest resident set of rounds 6 to 15 and 31 to 40: the allocator gives back when it likes."""
    command = [sys.executable, "-c", OPEN_AND_CLOSE, str(bundle), engine]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    settled, after = map(int, done.stdout.split())
    assert after - settled < 8192, f"{settled} kB became {after} kB"


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


@pytest.mark.parametrize("engine", ENGINES)
def test_feeds_that_do_not_fit_are_an_engine_error(engine: str, bundle: Path) -> None:
    right = sample_feeds(open_bundle(bundle), 1)
    image = right["image"]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"image": np.zeros((1, 9, 9, 3), np.uint8)}, r"is uint8 \(1, 9, 9, 3\), not uint8"),
        ({"image": image.astype(np.float32)}, "is float32"),
        ({"imag": image}, "missing or unknown: `imag"),
        ({}, "missing or unknown: `image`"),
        ({**right, "more": image}, "missing or unknown: `more`"),
    ]
    with load(bundle, engine=engine) as model:
        answer = model.infer(right)["logits"]
        for feeds, said in wrong:
            with pytest.raises(EngineError, match=said):
                model.infer(feeds)
        locked = image.copy()
        locked.flags.writeable = False
        backwards = np.ascontiguousarray(image[:, :, ::-1])[:, :, ::-1]
        for other in (locked, backwards):
            assert np.array_equal(model.infer({"image": other})["logits"], answer)


def test_facts_say_what_runs(bundle: Path) -> None:
    for engine, provider, version in (
        ("onnxruntime", "CPUExecutionProvider", onnxruntime.__version__),
        ("openvino", "CPU", openvino.__version__.split("-")[0]),
    ):
        with load(bundle, engine=engine, options={"threads": 2}) as model:
            facts = model.facts
            assert (facts.engine, facts.version, facts.provider, facts.precision) == (engine, version, provider, "fp32")
            assert facts.threads == 2


def test_onnxruntime_lists_the_threads_it_started(bundle: Path) -> None:
    for threads in (1, 3):
        before = len(list(Path("/proc/self/task").iterdir()))
        with load(bundle, engine="onnxruntime", options={"threads": threads}) as model:
            assert model.facts.threads == threads
            assert len(list(Path("/proc/self/task").iterdir())) - before == threads - 1


def test_measurements_lie_beside_the_signed_content(own_bundle: Path, cli: Cli) -> None:
    before = (own_bundle / "manifest.json").read_bytes()
    assert cli("bench", own_bundle, "--seconds", "0.1", "--variants", "openvino-int8", "--json").exit_code == 0
    assert (own_bundle / "manifest.json").read_bytes() == before
    inspected = json.loads(cli("inspect", own_bundle, "--json").stdout)
    assert inspected["measurements"][-1]["command"] == "bench" and inspected["schema"] == SCHEMA
    assert open_bundle(own_bundle)
