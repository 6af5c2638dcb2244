"""Texts and photos with objects over the network: `/predict`, tensors over REST and gRPC, batches of any length."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import tritonclient.grpc as triton
from tests.runtime.serve.conftest import RunningServer
from tests.task_bundles import MAX_LENGTH, photo, sentences, text_answers
from tritonclient.utils import InferenceServerException

from edgetl.bundle import open_bundle
from edgetl.runtime import load
from edgetl.runtime.serve.batching import Answer, Batcher, Limits
from edgetl.runtime.serve.inference import Tensor, feeds
from edgetl.runtime.serve.openapi import document
from edgetl.runtime.serve.refusals import Malformed
from edgetl.types import Array, Feeds, Outputs

TIMEOUT_S = 20


@pytest.fixture(scope="module")
def both(reviews: Path, squares: Path) -> Iterator[RunningServer]:
    """A server of a bundle that takes texts and of one that finds objects; texts go together."""
    running = RunningServer(reviews, squares, "--grpc-port", "0", "--max-batch", "8", "--max-delay-ms", "5")
    yield running
    running.stop()


def asked(server: RunningServer, query: str, data: Any, kind: str | None = None) -> Any:
    headers = {"content-type": kind} if kind else {}
    return requests.post(f"{server.url}/predict?{query}", data=data, headers=headers, timeout=TIMEOUT_S)


def test_a_text_in_any_wrapping_gets_its_labels(both: RunningServer, reviews: Path) -> None:
    text = "a GREAT film with “lovely” actors"
    with load(reviews) as model:
        expected = [(each.label, each.probability) for each in model.predict(text, top=2).top]
    for data, kind in (
        (text.encode(), "text/plain"),
        (text.encode(), "text/plain; charset=UTF-8"),
        (text.encode(), None),
        (json.dumps({"text": text}), "application/json"),
    ):
        answer = asked(both, "model=reviews&top=2", data, kind)
        assert answer.status_code == 200, answer.text
        assert [each["label"] for each in answer.json()["top"]] == [label for label, _ in expected]
        found = [each["probability"] for each in answer.json()["top"]]
        assert found == pytest.approx([probability for _, probability in expected], abs=1e-5)


def test_what_is_no_text_is_refused(both: RunningServer) -> None:
    for status, reason, data, kind in (
        (422, "the text is empty", b" ", "text/plain"),
        (422, "no UTF-8", b"\xff", "text/plain"),
        (415, "is not UTF-8", b"fine", "text/plain; charset=latin-1"),
        (415, "`image/png` is no text", b"fine", "image/png"),
        (400, "the body is not", b'{"txt": "fine"}', "application/json"),
        (400, "the body is not", b'{"text": 1}', "application/json"),
        (422, "more than 1,000,000", b"a " * 500_001, "text/plain"),
    ):
        answer = asked(both, "model=reviews", data, kind)
        assert (answer.status_code, reason in answer.json()["error"]) == (status, True), answer.text
    refused = asked(both, "model=reviews&threshold=0.5", b"fine", "text/plain")
    assert refused.status_code == 400 and "has no `threshold`" in refused.json()["error"]


def test_a_photo_gets_its_objects_where_they_are(both: RunningServer, squares: Path) -> None:
    content, boxes, _ = photo(1)
    with load(squares) as model:
        expected = model.detect(content).objects
    found = asked(both, "model=squares", content, "image/png").json()["objects"]
    assert [each["label"] for each in found] == [each.label for each in expected]
    np.testing.assert_allclose([each["box"] for each in found], [each.box for each in expected], atol=1e-3)
    assert asked(both, "model=squares&threshold=0.999", content).json()["objects"] == []
    assert len(asked(both, "model=squares&threshold=1e-6", content).json()["objects"]) > len(boxes)
    for query, reason in (
        ("threshold=1.5", "`threshold` cannot be"),
        ("threshold=nan", "`threshold` cannot be"),
        ("threshold=", "`threshold` cannot be"),
        ("top=3", "has no `top`"),
    ):
        answer = asked(both, f"model=squares&{query}", content)
        assert (answer.status_code, reason in answer.json()["error"]) == (400, True), answer.text


def test_clients_learn_what_a_model_takes_and_answers(both: RunningServer, server: RunningServer) -> None:
    models = requests.get(f"{both.url}/models", timeout=TIMEOUT_S).json()["models"]
    assert [(each["takes"], each["answers"]) for each in models] == [("text", "top"), ("image", "objects")]
    assert requests.get(f"{both.url}/openapi.json", timeout=TIMEOUT_S).json() == json.loads(json.dumps(document()))
    images = requests.get(f"{server.url}/openapi.json", timeout=TIMEOUT_S).json()["paths"]["/predict"]["post"]
    assert "text/plain" not in images["requestBody"]["content"] and "image/*" in images["requestBody"]["content"]
    assert "threshold" not in [each["name"] for each in images["parameters"]]


def token_rows(bundle: Path, texts: list[str]) -> dict[str, Array]:
    return {name: np.asarray(array) for name, array in open_bundle(bundle).preparation(texts).feeds.items()}


def test_tokens_as_tensors_get_the_same_answers(both: RunningServer, reviews: Path) -> None:
    rows = token_rows(reviews, sentences(3)[0])
    expected = text_answers(rows)["logits"]
    inputs = [
        {"name": name, "shape": array.shape, "datatype": "INT64", "data": array.tolist()}
        for name, array in rows.items()
    ]
    url = f"{both.url}/v2/models/reviews"
    answer = requests.post(f"{url}/infer", json={"inputs": inputs}, timeout=TIMEOUT_S).json()
    logits = next(each for each in answer["outputs"] if each["name"] == "logits")
    np.testing.assert_allclose(np.reshape(logits["data"], logits["shape"]), expected, atol=1e-4)
    described = requests.get(url, timeout=TIMEOUT_S).json()["inputs"]
    assert described == [{"name": name, "datatype": "INT64", "shape": [-1, -1]} for name in ("ids", "mask")]
    for change, reason in (
        ({"shape": [3, 1], "data": [1, 1, 1]}, "differ in `length`"),
        ({"shape": [1, MAX_LENGTH + 1], "data": [1] * (MAX_LENGTH + 1)}, f"length ≤ {MAX_LENGTH}"),
        ({"shape": [3, 0], "data": []}, "shape"),
        ({"shape": [1, 2], "data": [1, 2**63]}, "whole numbers"),
        ({"shape": [1, 2], "data": [1, 1.5]}, "whole numbers"),
    ):
        wrong = [inputs[0], {**inputs[1], **change}]
        refused = requests.post(f"{url}/infer", json={"inputs": wrong}, timeout=TIMEOUT_S)
        assert (refused.status_code, reason in refused.json()["error"]) == (400, True), refused.text


def test_tokens_over_grpc_raw_and_as_numbers(both: RunningServer, reviews: Path) -> None:
    rows = token_rows(reviews, sentences(4)[0])
    address = str(next(line["grpc"] for line in both.log if line["event"] == "serving"))
    client = triton.InferenceServerClient(address)
    try:
        inputs = [triton.InferInput(name, array.shape, "INT64") for name, array in rows.items()]
        for given, array in zip(inputs, rows.values(), strict=True):
            given.set_data_from_numpy(array)
        found = client.infer("reviews", inputs, client_timeout=TIMEOUT_S).as_numpy("logits")
        np.testing.assert_allclose(found, text_answers(rows)["logits"], atol=1e-4)
        inputs[0] = triton.InferInput("ids", [4, 1], "INT64").set_data_from_numpy(np.ones((4, 1), np.int64))
        with pytest.raises(InferenceServerException, match="differ in `length`"):
            client.infer("reviews", inputs, client_timeout=TIMEOUT_S)
    finally:
        client.close()


def test_texts_of_many_lengths_at_once_each_get_their_own_answer(both: RunningServer, reviews: Path) -> None:
    texts, _ = sentences(60, seed=11)
    with load(reviews) as model:
        expected = [answer.probability for answer in model.predict(texts)]

    def ask(text: str) -> float:
        return float(asked(both, "model=reviews", text.encode(), "text/plain").json()["top"][0]["probability"])

    with ThreadPoolExecutor(8) as clients:
        assert list(clients.map(ask, texts)) == pytest.approx(expected, abs=1e-5)
    lines = requests.get(f"{both.url}/metrics", timeout=TIMEOUT_S).text.splitlines()
    alone = next(line for line in lines if line.startswith("edgetl_batch_size_bucket") and 'le="1.0"' in line)
    calls = next(line for line in lines if line.startswith("edgetl_batch_size_count"))
    assert float(alone.rpartition(" ")[2]) < float(calls.rpartition(" ")[2]), "some went together"


def test_a_batch_is_as_long_as_its_longest_text(reviews: Path) -> None:
    task, parts = open_bundle(reviews).manifest.task, [token_rows(reviews, [text]) for text in sentences(3)[0]]
    seen: list[tuple[int, ...]] = []

    def infer(given: Feeds) -> Outputs:
        seen.append(given["ids"].shape)
        return text_answers(given)

    async def main() -> list[Answer]:
        batcher = Batcher(infer, task.join, Limits(max_batch=3, max_delay_s=5))
        try:
            return await asyncio.gather(*(batcher.submit(part, 1) for part in parts))
        finally:
            await asyncio.to_thread(batcher.close)

    answers = asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))
    assert seen == [(3, max(part["ids"].shape[1] for part in parts))]
    for answer, part in zip(answers, parts, strict=True):
        np.testing.assert_allclose(answer.outputs["logits"], text_answers(part)["logits"], atol=1e-6)


def test_an_axis_without_a_bound_takes_any_length(reviews: Path) -> None:
    specs = open_bundle(reviews).manifest.inputs
    long = [Tensor(name=spec.name, shape=(1, 500), datatype="INT64", data=[1] * 500) for spec in specs]
    assert feeds(long, specs)["ids"].shape == (1, 500)
    with pytest.raises(Malformed, match="length ≤ 24"):
        feeds(long, specs, {"length": 24})
