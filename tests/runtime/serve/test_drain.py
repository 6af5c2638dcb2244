"""An orchestrator ends a server: what was accepted is answered, what is new goes elsewhere, and it does end."""

import hashlib
import json
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.runtime.serve.conftest import RunningServer, StartServer
from tests.runtime.serve.mutations import Good, good_request
from tests.runtime.serve.wire import Wire, request

from edgetl.runtime.serve.listening import listen, refuse_new

WAIT_S = 20
CLIENTS = 6
READY = request("GET", "/v2/health/ready")


@pytest.fixture
def good(bundle: Path) -> Good:
    return good_request(bundle.name, "image", (1, 32, 32, 3))


def wait_for(server: RunningServer, event: str) -> None:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        if any(line["event"] == event for line in server.log):
            return
        time.sleep(0.005)
    raise AssertionError(f"no `{event}` in {server.log}")


def keeps_its_connection(server: RunningServer, good: Good) -> list[str]:
    """Asks on one connection until it is told to go; what went wrong."""
    with Wire(server.port) as wire:
        while True:
            if select.select([wire.socket], [], [], 0)[0]:
                return [] if wire.ended() else ["an answer to nothing"]
            answer = wire.ask(good.wire())
            if answer is None:
                return ["a request was lost"]
            if answer.status != 200:
                return [str(answer)]
            if answer.headers.get("connection") == "close":
                return [] if wire.ended() else ["it said `close` and did not"]


def connects_anew(server: RunningServer, good: Good) -> list[str]:
    """A connection for each request, until there is none to be had."""
    while True:
        try:
            wire = Wire(server.port)
        except ConnectionRefusedError:
            return []
        with wire:
            answer = wire.ask(good.wire())
            if answer is None:
                return ["a request was lost"]
            if answer.status != 200:
                return [str(answer)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can refuse the new and keep those that wait")
def test_a_listener_that_refuses_the_new_keeps_those_that_wait() -> None:
    with listen("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address, timeout=WAIT_S) as waiting:
            refuse_new(listener)
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.2)
            waiting.sendall(b"asked")
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.recv(100) == b"asked"


@pytest.mark.slow
@pytest.mark.parametrize("client", [keeps_its_connection, connects_anew])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_that_was_accepted_is_lost(
    start_server: StartServer,
    bundle: Path,
    good: Good,
    client: Callable[[RunningServer, Good], list[str]],
    number: signal.Signals,
) -> None:
    server = start_server(bundle)
    problems: list[str] = []
    threads = [threading.Thread(target=lambda: problems.extend(client(server, good))) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert not problems and all(thread.is_alive() for thread in threads)
    assert server.stop(number) == 0
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert problems == []
    assert not [line for line in server.log if line["level"] == "error"]


@pytest.mark.slow
def test_it_is_not_ready_from_then_on_and_finishes_what_was_begun(
    start_server: StartServer, bundle: Path, good: Good
) -> None:
    server = start_server(bundle)
    data = good.wire()
    with Wire(server.port) as begun, Wire(server.port) as probe:
        begun.send(data[:-100])
        answer = probe.ask(READY)
        assert answer is not None and answer.status == 200
        server.process.send_signal(signal.SIGTERM)
        while answer is not None and answer.status == 200:
            answer = probe.ask(READY)
        assert answer is not None and (answer.status, answer.headers["connection"]) == (503, "close")
        assert answer.error == "the server is shutting down" and probe.ended()
        with pytest.raises(ConnectionRefusedError):
            Wire(server.port)
        answer = begun.ask(data[-100:])
        assert answer is not None and (answer.status, answer.headers["connection"]) == (200, "close")
    assert server.process.wait(WAIT_S) == 0


@pytest.mark.slow
def test_a_client_that_never_ends_does_not_keep_it_alive(start_server: StartServer, bundle: Path, good: Good) -> None:
    server = start_server(bundle, "--drain-s", "1")
    with Wire(server.port) as wire:
        wire.send(good.wire()[:-1])
        assert server.stop() == 0
        answer = wire.answer()
        assert answer is None or answer.status >= 400


@pytest.mark.slow
def test_asked_twice_it_ends_at_once(start_server: StartServer, bundle: Path, good: Good) -> None:
    server = start_server(bundle, "--drain-s", "3600")
    with Wire(server.port) as wire:
        wire.send(good.wire()[:-1])
        server.process.send_signal(signal.SIGTERM)
        wait_for(server, "draining")
        assert server.process.poll() is None
        assert server.stop() == 130
    assert server.log[-1]["event"] == "ended at once"


def refuse_white(bundle: Path) -> None:
    """Has the ONNX FP32 variant look every image's brightest value up in a table that has no 255, and so fail on it."""
    entry = "onnxruntime-fp32/model.onnx"
    model = onnx.load(bundle / entry)
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["logits-before" if name == "logits" else name for name in node.output]
        node.input[:] = ["logits-before" if name == "logits" else name for name in node.input]
    graph.initializer.append(numpy_helper.from_array(np.zeros(255, np.float32), "table"))
    graph.node.extend(
        [
            helper.make_node("Cast", ["image"], ["whole"], to=TensorProto.INT64),
            helper.make_node("ReduceMax", ["whole"], ["brightest"], keepdims=0),
            helper.make_node("Gather", ["table", "brightest"], ["nothing"]),
            helper.make_node("Add", ["logits-before", "nothing"], ["logits"]),
        ]
    )
    onnx.save(model, bundle / entry)
    content = (bundle / entry).read_bytes()
    manifest = json.loads((bundle / "manifest.json").read_text())
    (record,) = [file for file in manifest["files"] if file["path"] == entry]
    record |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_an_engine_that_fails_harms_its_own_request_only(
    start_server: StartServer, own_bundle: Path, bundle: Path
) -> None:
    refuse_white(own_bundle)
    server = start_server(own_bundle, "--variant", "onnxruntime-fp32")
    fine = good_request(own_bundle.name, "image", (1, 32, 32, 3))
    fine = fine._replace(tensor=fine.tensor.replace(b"\xff", b"\xfe"))
    white = fine._replace(tensor=b"\xff" * len(fine.tensor))
    with Wire(server.port) as wire:
        wire.send((fine.wire() + white.wire()) * 10)
        answers = [wire.answer() for _ in range(20)]
    assert [answer.status for answer in answers if answer] == [200, 500] * 10
    assert answers[1] is not None and "onnxruntime" in answers[1].error
    assert len({answer.body for answer in answers[::2] if answer}) == 1
    server.stop()  # the last lines of the log may still be on their way
    assert len([line for line in server.log if line["event"] == "a request failed"]) == 10
    assert not [line for line in server.log if "traceback" in line]
