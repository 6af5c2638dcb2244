"""The FastAPI application: typed answers, limits, and a session that lives as long as the application."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import examples.fastapi_app as example
import numpy as np
import pytest
from examples.fastapi_app import create_app
from fastapi.testclient import TestClient

from edgetl.errors import EngineError
from edgetl.runtime import load


@pytest.fixture
def client(bundle: Path) -> Iterator[TestClient]:
    with TestClient(create_app(bundle, max_bytes=100_000)) as opened:
        yield opened


def test_an_image_gets_the_answer_of_the_session(client: TestClient, bundle: Path, dataset: Path) -> None:
    photo = next((dataset / "val" / "slate").iterdir())
    answer = client.post("/classify", params={"top": 2}, content=photo.read_bytes())
    assert answer.status_code == 200
    with load(bundle) as model:
        expected = model.predict(photo, top=2)
    assert answer.json() == {
        "top": [{"label": each.label, "probability": each.probability} for each in expected.top],
        "variant": "onnxruntime-fp32",
    }


def test_what_is_no_image_or_too_large_is_refused(client: TestClient) -> None:
    broken = client.post("/classify", content=b"no image")
    assert broken.status_code == 422 and "cannot be decoded" in broken.json()["detail"]
    assert client.post("/classify", content=b"").status_code == 422
    assert client.post("/classify", content=bytes(100_001)).status_code == 413
    assert client.post("/classify", content=(bytes(1000) for _ in range(101))).status_code == 413  # no length given
    assert client.post("/classify", params={"top": 0}, content=b"x").status_code == 422


def test_the_answer_is_described_for_other_programs(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert set(described["components"]["schemas"]["Answer"]["properties"]) == {"top", "variant"}
    assert "image/*" in described["paths"]["/classify"]["post"]["requestBody"]["content"]


def test_who_comes_too_late_is_told_so(client: TestClient, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine waits for the test: two images are worked on, one waits, the fourth is refused."""
    monkeypatch.setattr(example, "WAITING", 1)
    photo = next((dataset / "val" / "slate").iterdir()).read_bytes()
    model, go = client.app.state.model, threading.Event()  # type: ignore[attr-defined]
    infer = model.infer
    monkeypatch.setattr(model, "infer", lambda feeds: (go.wait(10), infer(feeds))[1])
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(client.post, "/classify", content=photo) for _ in range(3)]
        limiter = client.app.state.limiter  # type: ignore[attr-defined]
        for _ in range(1000):
            if limiter.borrowed_tokens == 2 and limiter.statistics().tasks_waiting == 1:
                break
            threading.Event().wait(0.01)
        refused = client.post("/classify", content=photo)
        go.set()
        assert [each.result().status_code for each in waiting] == [200, 200, 200]
    assert refused.status_code == 503 and refused.headers["retry-after"] == "1"


def test_the_session_is_closed_with_the_application(bundle: Path) -> None:
    app = create_app(bundle)
    with TestClient(app):
        model = app.state.model
        assert model.facts.precision == "fp32"
    with pytest.raises(EngineError, match="closed"):
        model.predict(np.zeros((8, 8, 3), np.uint8))
