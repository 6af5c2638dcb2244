"""An image over HTTP becomes labels; what is no image costs the client its answer and nobody else anything."""

import io
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from tests.runtime.serve.conftest import RunningServer, StartServer

from edgetl.runtime import load

TIMEOUT_S = 20


@pytest.fixture(scope="session")
def photo(dataset: Path) -> Path:
    return next((dataset / "val" / "moss").iterdir())


def test_raw_bytes_and_a_form_are_answered_like_the_session(server: RunningServer, bundle: Path, photo: Path) -> None:
    with load(bundle, variant="openvino-int8") as model:
        expected = [(each.label, each.probability) for each in model.predict(photo, top=2).top]
    url = f"{server.url}/predict?variant=openvino-int8&top=2"
    content = photo.read_bytes()
    answers = [
        requests.post(url, data=content, headers={"content-type": "image/png"}, timeout=TIMEOUT_S),
        requests.post(url, data=content, timeout=TIMEOUT_S),
        requests.post(url, files={"any": ("name.png", content, "image/png")}, timeout=TIMEOUT_S),
    ]
    for answer in answers:
        found = answer.json()
        assert answer.status_code == 200 and (found["model"], found["variant"]) == (bundle.name, "openvino-int8")
        assert [each["label"] for each in found["top"]] == [label for label, _ in expected]
        probabilities = [each["probability"] for each in found["top"]]
        assert probabilities == pytest.approx([probability for _, probability in expected], abs=1e-4)
        assert set(found["milliseconds"]) == {"preprocessing", "queue", "inference", "total"}
        assert found["milliseconds"]["total"] >= found["milliseconds"]["inference"] > 0


def test_what_is_no_image_is_refused(server: RunningServer) -> None:
    url = f"{server.url}/predict"
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")
    for status, reason, answer in (
        (422, "cannot be decoded", requests.post(url, data=b"not an image", timeout=TIMEOUT_S)),
        (422, "cannot be decoded", requests.post(url, data=b"", timeout=TIMEOUT_S)),
        (413, "81,000,000 pixels", requests.post(url, data=bomb.getvalue(), timeout=TIMEOUT_S)),
        (413, "larger than 16 MiB", requests.post(url, data=bytes(17 * 2**20), timeout=TIMEOUT_S)),
        (415, "`application/json` is no image", requests.post(url, json={"image": 1}, timeout=TIMEOUT_S)),
        (400, "Maximum number of files is 1", requests.post(url, files={"a": b"1", "b": b"2"}, timeout=TIMEOUT_S)),
        (400, "`top` cannot be", requests.post(f"{url}?top=none", data=b"x", timeout=TIMEOUT_S)),
        (
            400,
            "has no `threshold`; it takes `top`",
            requests.post(f"{url}?threshold=0.5", data=b"x", timeout=TIMEOUT_S),
        ),
        (404, "no model", requests.post(f"{url}?model=nobody", data=b"x", timeout=TIMEOUT_S)),
        (405, "method not allowed", requests.get(url, timeout=TIMEOUT_S)),
    ):
        assert (answer.status_code, reason in answer.json()["error"]) == (status, True), answer.text


def test_an_image_that_takes_too_long_to_decode_is_refused_in_time(start_server: StartServer, bundle: Path) -> None:
    large = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (3000, 3000, 3), np.uint8)).save(
        large, "PNG", compress_level=1
    )
    url = start_server(bundle, "--timeout-s", "0.02", "--max-body-mb", "40").url
    answer = requests.post(f"{url}/predict", data=large.getvalue(), timeout=TIMEOUT_S)
    assert (answer.status_code, "not prepared within" in answer.json()["error"]) == (503, True), answer.text
    assert answer.headers["retry-after"]


def test_several_bundles_are_told_apart_by_name(
    start_server: StartServer, bundle: Path, own_bundle: Path, photo: Path
) -> None:
    server = start_server(bundle, own_bundle, "--variant", "onnxruntime-fp32")
    names = {model["name"] for model in requests.get(f"{server.url}/models", timeout=TIMEOUT_S).json()["models"]}
    assert names == {bundle.name, "own-bundle"}
    undecided = requests.post(f"{server.url}/predict", data=photo.read_bytes(), timeout=TIMEOUT_S)
    assert undecided.status_code == 400 and "?model=" in undecided.json()["error"]
    for name in names:
        answer = requests.post(f"{server.url}/predict?model={name}", data=photo.read_bytes(), timeout=TIMEOUT_S)
        assert answer.json()["model"] == name


def test_a_variant_that_cannot_open_is_refused_and_the_others_answer(
    start_server: StartServer, own_bundle: Path, photo: Path
) -> None:
    (own_bundle / "openvino-int8" / "model.bin").write_bytes(b"damaged")
    url = start_server(own_bundle).url
    for _ in range(2):
        answer = requests.post(f"{url}/predict?variant=openvino-int8", data=photo.read_bytes(), timeout=TIMEOUT_S)
        assert answer.status_code == 503 and "differs from the manifest" in answer.json()["error"]
    assert requests.post(f"{url}/predict", data=photo.read_bytes(), timeout=TIMEOUT_S).status_code == 200
    states = {row["version"]: row["state"] for row in requests.post(f"{url}/v2/repository/index", timeout=20).json()}
    assert states["openvino-int8"] == "UNAVAILABLE" and states["openvino-fp32"] == "READY"


def test_metrics_say_what_runs_and_what_it_took(server: RunningServer, bundle: Path, photo: Path) -> None:
    requests.post(f"{server.url}/predict?variant=onnxruntime-int8", data=photo.read_bytes(), timeout=TIMEOUT_S)
    text = requests.get(f"{server.url}/metrics", timeout=TIMEOUT_S).text
    lines = [line for line in text.splitlines() if "onnxruntime-int8" in line]
    for name in ("queue_seconds_count", "inference_seconds_sum", "batch_size_bucket", "model_info"):
        assert any(line.startswith(f"edgetl_{name}") for line in lines), name
    facts = next(line for line in lines if line.startswith("edgetl_model_info"))
    assert 'precision="int8"' in facts and 'provider="CPUExecutionProvider"' in facts
    assert f'edgetl_preprocessing_seconds_count{{model="{bundle.name}"}}' in text


def test_a_hundred_mixed_clients_get_their_own_answers(server: RunningServer, bundle: Path, dataset: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    photos = sorted(dataset.glob("val/*/0*.png"))
    with load(bundle) as model:
        expected = [answer.top for answer in model.predict(photos)]

    def ask(i: int) -> list[float]:
        answer = requests.post(f"{server.url}/predict", data=photos[i].read_bytes(), timeout=TIMEOUT_S).json()
        return [each["probability"] for each in answer["top"]]

    with ThreadPoolExecutor(8) as clients:
        for i, found in zip(range(len(photos)), clients.map(ask, range(len(photos))), strict=True):
            assert np.allclose(found, [each.probability for each in expected[i]], atol=1e-5)
