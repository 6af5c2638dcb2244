"""Who may ask for what: tokens, paths and methods."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runtime.serve.conftest import RunningServer
from tests.runtime.serve.mutations import Good, good_request
from tests.runtime.serve.wire import Answer, Wire, request

TOKEN = "s3cret-töken"
WAIT_S = 20


@pytest.fixture(scope="module")
def guarded(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that wants a token."""
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(f"{TOKEN}\nsecond line\n")
    running = RunningServer(bundle, "--token-file", file)
    yield running
    running.stop()


@pytest.fixture
def good(bundle: Path) -> Good:
    return good_request(bundle.name, "image", (1, 32, 32, 3))


def ask(server: RunningServer, data: bytes, *, head: bool = False) -> Answer:
    with Wire(server.port) as wire:
        wire.send(data)
        answer = wire.answer(head=head)
        assert answer is not None
        return answer


def bearer(token: str) -> dict[str, str]:
    """The header as UTF-8, which is what the file holds."""
    return {"authorization": f"Bearer {token}".encode().decode("latin-1")}


def test_only_the_token_opens(guarded: RunningServer, good: Good) -> None:
    assert ask(guarded, good.wire(headers=bearer(TOKEN))).status == 200
    wrong: list[dict[str, str]] = [
        {}, bearer(""), bearer(TOKEN[:-1]), bearer(TOKEN + "x"), bearer("second line"), bearer(TOKEN.upper()),
        {"authorization": bearer(TOKEN)["authorization"].removeprefix("Bearer ")}, {"authorization": "\xff"},
    ]  # fmt: skip
    for headers in wrong:
        answer = ask(guarded, good.wire(headers=headers))
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer"), headers
        assert "wants a token" in answer.error


def test_all_but_the_page_and_the_probes_want_the_token(guarded: RunningServer, bundle: Path) -> None:
    for target in ("/", "/v2/health/live", "/v2/health/ready"):
        assert ask(guarded, request("GET", target)).status == 200, target
    model = f"/v2/models/{bundle.name}"
    for target in ("/v2", "/models", "/metrics", "/openapi.json", model, f"{model}/ready", "/nothing", "//",
                   "/v2/health", "/%2e", "/v2/health/live/", "/v2/health/../../models", "/?x=/models",
                   "/;/models"):  # fmt: skip
        open_to_all = target.startswith("/?")
        assert ask(guarded, request("GET", target)).status == (200 if open_to_all else 401), target
    for target in ("/predict", "/v2/repository/index", f"{model}/infer"):
        assert ask(guarded, request("POST", target)).status == 401, target


def test_paths_lead_nowhere_else(server: RunningServer, bundle: Path) -> None:
    for target in ("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/page.html", "/v2/models/..%2f..%2fetc/ready",
                   f"/v2/models/{bundle.name}/versions/..", "/v2/models/%00", "/v2/models/%ff", "/v2/", "/models/",
                   f"/v2/models/{bundle.name}/versions/", "/v2/models/" + "x" * 50_000):  # fmt: skip
        answer = ask(server, request("GET", target))
        assert answer.status == 404 and answer.error, target


def test_methods_are_those_of_the_endpoint(server: RunningServer, bundle: Path) -> None:
    for method, target, allowed in (
        ("GET", "/predict", {"POST"}),
        ("DELETE", f"/v2/models/{bundle.name}", {"GET", "HEAD"}),
        ("OPTIONS", f"/v2/models/{bundle.name}/infer", {"POST"}),
        ("TRACE", "/", {"GET", "HEAD"}),
    ):
        answer = ask(server, request(method, target))
        assert answer.status == 405 and answer.error == "method not allowed"
        assert set(answer.headers["allow"].split(", ")) == allowed
    answer = ask(server, request("BREW", "/"))
    assert answer.status == 400 and answer.error == "this is no HTTP/1.1 request"
    whole, head = ask(server, request("GET", "/openapi.json")), ask(server, request("HEAD", "/openapi.json"), head=True)
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(whole.body)), b"")


def test_strange_queries_are_refused_or_of_no_effect(server: RunningServer) -> None:
    for query in (
        "top=-1",
        "top=1e2",
        "top=%00",
        "top=%C2%B2",
        "top=0000000001",
        "top=",
        "top=1001",
    ):
        answer = ask(server, request("POST", f"/predict?{query}", b"x"))
        assert answer.status == 400 and "`top` cannot be" in answer.error, query
    for query in ("model=%00", "variant=../..", "variant=" + "x" * 30_000, "model=a&model=b"):
        assert ask(server, request("POST", f"/predict?{query}", b"x")).status == 404, query
    for query in ("&&&===", "%", "%zz=1", "a=b&" * 1000):
        assert ask(server, request("GET", f"/v2?{query}")).status == 200, query


def test_every_answer_forbids_guessing_its_type(guarded: RunningServer) -> None:
    for data in (request("GET", "/"), request("GET", "/v2"), request("GET", "/v2", headers=bearer(TOKEN))):
        assert ask(guarded, data).headers["x-content-type-options"] == "nosniff"
