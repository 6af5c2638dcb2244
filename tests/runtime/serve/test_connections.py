"""What a connection may do: slow, long, many, unread, pipelined; and that it is usable after each refusal."""

import contextlib
import gzip
import json
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tests.runtime.serve.conftest import RunningServer, StartServer
from tests.runtime.serve.mutations import Good, good_request
from tests.runtime.serve.test_bodies import errors
from tests.runtime.serve.wire import Wire, chunk, request

from edgetl.runtime.serve.connections import MAX_PIPELINED

READ_TIMEOUT_S = 0.5
MAX_CONNECTIONS = 6
WAIT_S = 20
SERVER = request("GET", "/v2")


@pytest.fixture(scope="module")
def strict(bundle: Path) -> Iterator[RunningServer]:
    """A server of small limits."""
    limits = (
        "--read-timeout-s",
        READ_TIMEOUT_S,
        "--max-connections",
        MAX_CONNECTIONS,
        "--max-body-mb",
        1,
        "--queue",
        64,
    )
    running = RunningServer(bundle, *map(str, limits))
    yield running
    running.stop()


@pytest.fixture
def good(bundle: Path) -> Good:
    return good_request(bundle.name, "image", (1, 32, 32, 3))


@pytest.mark.parametrize("sent", [b"", b"POST /v2/models/", b"GET /v2 HTTP/1.1\r\nhost: x\r\nx: "])
def test_headers_that_come_byte_by_byte_are_cut_off(strict: RunningServer, sent: bytes) -> None:
    with Wire(strict.port) as wire:
        until = time.monotonic() + WAIT_S
        wire.socket.setblocking(False)
        while not readable(wire, 0.1) and time.monotonic() < until:
            wire.send(sent[:1] or b"\n")
            sent = sent[1:] or sent[-1:]
        wire.socket.settimeout(WAIT_S)
        answer = wire.answer()
        assert answer is not None and (answer.status, answer.headers["connection"]) == (408, "close")
        assert answer.error == "the request did not arrive in time" and wire.ended()


def readable(wire: Wire, seconds: float) -> bool:
    return bool(select.select([wire.socket], [], [], seconds)[0])


def test_a_slow_body_is_cut_off_and_holds_up_nobody(strict: RunningServer, good: Good) -> None:
    label = 'edgetl_errors_total{route="/v2/models/{model}/infer",status="499"}'
    before = errors(strict.url).get(label, 0)
    slow = [Wire(strict.port) for _ in range(3)]
    for wire in slow:
        wire.send(good.wire()[:-10])
    with Wire(strict.port) as quick:
        answer = quick.ask(good.wire())
        assert answer is not None and answer.status == 200
    for wire in slow:
        answer = wire.answer()
        assert answer is not None and answer.status == 408 and wire.ended()
        wire.close()
    assert errors(strict.url)[label] == before + 3


@pytest.mark.slow
def test_what_is_between_requests_keeps_no_connection(strict: RunningServer) -> None:
    """Empty lines before a request are allowed, and begin none."""
    with Wire(strict.port) as wire:
        assert wire.ask(SERVER)
        wire.send(b"\r\n")
        assert wire.ended()


@pytest.mark.parametrize(
    "data",
    [
        request("GET", "/v2", headers={"x": "y" * 70_000}),
        request("GET", "/v2", headers={f"x-{i}": "y" * 50 for i in range(1500)}),
        request("GET", "/v2?" + "x" * 70_000),
        b"GET /v2 HTTP/1.1\r\nx: " + b"y" * 400_000,
        request("POST", "/predict", b"0\r\nx: " + b"y" * 400_000, {"transfer-encoding": "chunked"}),
        request("POST", "/predict", b"5;" + b"y" * 400_000, {"transfer-encoding": "chunked"}),
    ],
)
def test_long_headers_are_refused_wherever_they_are(strict: RunningServer, data: bytes) -> None:
    with Wire(strict.port) as wire:
        answer = wire.ask(data)
        assert answer is not None and answer.status == 431 and "headers are too long" in answer.error
        assert wire.ended()


def test_a_trailer_is_no_header(strict: RunningServer, good: Good) -> None:
    """Else what a proxy let through behind a body would say how the body is to be read."""
    body = json.dumps(good.head).encode() + good.tensor
    data = chunk(body) + b"0\r\ninference-header-content-length: %d\r\n\r\n" % len(json.dumps(good.head))
    with Wire(strict.port) as wire:
        answer = wire.ask(request("POST", good.path, data, {"transfer-encoding": "chunked"}))
        assert answer is not None and answer.status == 400
        data = chunk(good.wire().partition(b"\r\n\r\n")[2]) + b"0\r\nx: y\r\n\r\n"
        length = {"inference-header-content-length": str(len(json.dumps(good.head)))}
        answer = wire.ask(request("POST", good.path, data, {"transfer-encoding": "chunked", **length}))
        assert answer is not None and answer.status == 200


def test_a_connection_is_usable_after_each_refusal(strict: RunningServer, good: Good) -> None:
    many = {**good.head, "inputs": [{**good.head["inputs"][0], "shape": [65, 32, 32, 3]}]}
    many["inputs"][0]["parameters"] = {"binary_data_size": 65 * len(good.tensor)}
    refusals = [
        (400, good.wire(head=b"{")),
        (400, request("POST", "/predict?top=0", bytes(500_000))),
        (404, request("POST", "/v2/models/nobody/infer", bytes(500_000))),
        (404, request("POST", "/nothing", bytes(500_000))),
        (404, request("POST", "/nothing", chunk(bytes(5000)) * 90 + b"0\r\n\r\n", {"transfer-encoding": "chunked"})),
        (405, request("POST", "/v2", b"x" * 500_000)),
        (413, good._replace(head=many, tensor=good.tensor * 65).wire()),
        (413, request("POST", good.path, gzip.compress(bytes(2**21)), {"content-encoding": "gzip"})),
        (415, request("POST", "/predict", b"{}", {"content-type": "application/json"})),
        (422, request("POST", "/predict", b"no image")),
    ]
    with Wire(strict.port) as wire:
        for status, data in refusals:
            answer = wire.ask(data)
            assert answer is not None and answer.status == status and answer.error, answer
            answer = wire.ask(good.wire())
            assert answer is not None and answer.status == 200, status


def test_the_refusal_of_a_body_that_is_not_taken_is_read(strict: RunningServer, good: Good) -> None:
    for headers in ({}, {"transfer-encoding": "chunked"}):
        with Wire(strict.port) as wire:
            body = chunk(bytes(2**20)) * 8 if headers else bytes(2**23)
            answer = wire.ask(request("POST", good.path, body, headers))
            assert answer is not None and answer.status == 413


def test_a_client_that_waits_to_send_is_told_to_or_refused(strict: RunningServer, good: Good) -> None:
    head, _, body = good.wire(headers={"expect": "100-continue"}).partition(b"\r\n\r\n")
    with Wire(strict.port) as wire:
        first = wire.ask(head + b"\r\n\r\n")
        assert first is not None and first.status == 100
        answer = wire.ask(body)
        assert answer is not None and answer.status == 200
        refused = request("POST", good.path, headers={"expect": "100-continue", "content-length": "9000000"})
        answer = wire.ask(refused)
        assert answer is not None and (answer.status, answer.headers["connection"]) == (413, "close")
        assert wire.ended(), "what it sends next could be the body or another request"


def test_pipelined_requests_are_answered_in_order(strict: RunningServer, good: Good) -> None:
    wanted = [good._replace(head={**good.head, "id": str(i)}).wire() for i in range(20)]
    with Wire(strict.port) as wire:
        wire.send(b"".join(wanted) + b"this is no request\r\n\r\n" + SERVER)
        for i in range(20):
            answer = wire.answer()
            assert answer is not None and answer.json["id"] == str(i)
        last = wire.answer()
        assert last is None or last.status == 400, "no refusal takes the place of an answer"
        assert wire.ended()
    with Wire(strict.port) as wire:
        wire.send(SERVER * 5000)
        found = 0
        while wire.answer() is not None:
            found += 1
        assert MAX_PIPELINED <= found < 5000, "no more of them are kept than are soon answered"


def test_an_offer_of_another_protocol_is_answered_in_this_one(strict: RunningServer) -> None:
    with Wire(strict.port) as wire:
        for protocol in ("h2c", "websocket"):
            answer = wire.ask(request("GET", "/v2", headers={"connection": "upgrade", "upgrade": protocol}))
            assert answer is not None and answer.status == 200


def test_more_connections_than_allowed_are_refused_and_the_others_go_on(strict: RunningServer, good: Good) -> None:
    held = [Wire(strict.port) for _ in range(MAX_CONNECTIONS)]
    assert all(wire.ask(SERVER) for wire in held)
    surplus = [Wire(strict.port) for _ in range(MAX_CONNECTIONS)]
    for wire in surplus:
        answer = wire.ask(good.wire())
        assert answer is not None and (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.error == "too many connections" and wire.ended()
    answers = [wire.ask(good.wire()) for wire in held]
    assert [answer.status for answer in answers if answer] == [200] * MAX_CONNECTIONS
    for wire in held + surplus:
        wire.close()
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        with Wire(strict.port) as wire:
            answer = wire.ask(SERVER)
            if answer is not None and answer.status == 200:
                return
    raise AssertionError("connections that were closed still count")


def test_far_more_connections_are_closed_without_a_word(strict: RunningServer) -> None:
    held = [Wire(strict.port) for _ in range(2 * MAX_CONNECTIONS)]
    with Wire(strict.port) as wire:
        assert wire.ended()
    for wire in held:
        wire.close()


@pytest.mark.slow
def test_a_client_that_does_not_read_is_cut_off(strict: RunningServer, good: Good) -> None:
    count, size = 20, 900_000
    long = good._replace(head={**good.head, "id": "x" * size}).wire()
    with Wire(strict.port, READ_TIMEOUT_S, buffer=2**16) as wire:
        with contextlib.suppress(TimeoutError):  # the server reads no more, as nobody reads its answers
            wire.send(long * count)  # each says the id again
        time.sleep(3 * READ_TIMEOUT_S)
        wire.socket.settimeout(WAIT_S)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := wire.socket.recv(2**20):
                received += len(piece)
    assert 0 < received < count * size
    with Wire(strict.port) as wire:
        answer = wire.ask(good.wire())
        assert answer is not None and answer.status == 200


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs `openssl` to make a certificate")
def test_tls(start_server: StartServer, bundle: Path, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=edge"
    command = ["openssl", "req", *options.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    server = start_server(bundle, "--ssl-certfile", certificate, "--ssl-keyfile", key, "--read-timeout-s", "0.5")
    assert server.url.startswith("https://")
    with Wire(server.port) as wire:
        assert wire.send(SERVER) and wire.ended(), "no TLS, no answer"
    with requests.Session() as session:
        for _ in range(2):
            answer = session.get(f"{server.url}/v2", verify=str(certificate), timeout=WAIT_S)
            assert answer.json()["name"] == "edgetl"
    assert server.stop() == 0
    assert not [line for line in server.log if line["level"] == "error" or "text" in line]
