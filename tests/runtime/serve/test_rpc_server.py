"""A gRPC server's limits, its locks, and its end."""

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest
import tritonclient.grpc as triton
from tests.runtime.serve.conftest import RunningServer, StartServer
from tritonclient.utils import InferenceServerException

from edgetl.bundle import open_bundle
from edgetl.types import Array

TIMEOUT_S = 20
SLOW = ("--grpc-port", "0", "--max-batch", "64", "--max-delay-ms", "1000")
"""The first call waits a second for others, so that a test can say what happens meanwhile."""


def where(server: RunningServer) -> str:
    return str(next(line["grpc"] for line in server.log if line["event"] == "serving"))


def image_input(images: Array) -> triton.InferInput:
    made = triton.InferInput("image", list(images.shape), "UINT8")
    made.set_data_from_numpy(images)
    return made


@pytest.fixture
def image(bundle: Path) -> triton.InferInput:
    return image_input(open_bundle(bundle).golden()["image"][:1])


def together(client: triton.InferenceServerClient, bundle: Path, image: triton.InferInput, count: int) -> "Outcomes":
    outcomes = Outcomes(count)
    for _ in range(count):
        client.async_infer(bundle.name, [image], outcomes.add, client_timeout=TIMEOUT_S)
    return outcomes


class Outcomes:
    """What the calls of a burst came to: a code, or `OK`."""

    def __init__(self, count: int) -> None:
        self._count, self._found, self._all = count, Counter[str](), threading.Event()

    def add(self, result: Any, error: InferenceServerException | None) -> None:
        self._found[str(error.status()) if error else "OK"] += 1
        if self._found.total() == self._count:
            self._all.set()

    def wait(self) -> dict[str, int]:
        assert self._all.wait(TIMEOUT_S)
        return dict(self._found)


def test_full_late_and_ending(start_server: StartServer, bundle: Path, image: triton.InferInput) -> None:
    server = start_server(bundle, *SLOW, "--queue", "8")
    with triton.InferenceServerClient(where(server)) as client:
        # what the queue holds is answered, the rest is told at once that it may come again
        assert together(client, bundle, image, 20).wait() == {"OK": 8, "StatusCode.UNAVAILABLE": 12}
        with pytest.raises(InferenceServerException) as caught:
            client.infer(bundle.name, [image], client_timeout=0.2)
        assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
        accepted = together(client, bundle, image, 7)  # the call nobody waits for any more still has its place
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        assert accepted.wait() == {"OK": 7}
    assert server.process.wait(TIMEOUT_S) == 0
    assert [line for line in server.log if line["event"] == "not json"] == []


def test_token_and_tls(start_server: StartServer, bundle: Path, image: triton.InferInput, tmp_path: Path) -> None:
    key, certificate = certified(tmp_path)
    token = tmp_path / "token"
    token.write_text("open sesame\n")
    locked = ("--token-file", token, "--ssl-keyfile", key, "--ssl-certfile", certificate)
    server = start_server(bundle, "--grpc-port", "0", *locked)
    with triton.InferenceServerClient(where(server), ssl=True, root_certificates=str(certificate)) as client:
        assert client.is_server_live() and client.is_server_ready()
        for headers in (None, {"authorization": "Bearer open says me"}, {"authorization": "open sesame"}):
            for call in (
                client.get_server_metadata,
                lambda headers: client.infer(bundle.name, [image], headers=headers),
            ):
                with pytest.raises(InferenceServerException) as caught:
                    call(headers=headers)
                assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
        client.infer(bundle.name, [image], headers={"authorization": "Bearer open sesame"})
    with triton.InferenceServerClient(where(server)) as plain, pytest.raises(InferenceServerException):
        plain.is_server_live(client_timeout=2)


def certified(folder: Path) -> tuple[Path, Path]:
    """A key and its certificate for the loopback."""
    openssl = shutil.which("openssl")
    assert openssl, "this test makes its certificate with `openssl`"
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
    return key, certificate


def test_large_and_slow_messages_are_refused(start_server: StartServer, bundle: Path, image: triton.InferInput) -> None:
    server = start_server(bundle, "--grpc-port", "0", "--max-body-mb", "1", "--read-timeout-s", "0.3")
    with grpc.insecure_channel(where(server)) as channel:
        method = "/inference.GRPCInferenceService/ModelInfer"
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(method)(bytes(8 * 2**20), timeout=TIMEOUT_S, compression=compression)
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        never = threading.Event()
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(method)(iter(lambda: never.wait(TIMEOUT_S), None), timeout=TIMEOUT_S)
        never.set()
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert "did not arrive in time" in caught.value.details()
    with triton.InferenceServerClient(where(server)) as client:
        client.infer(bundle.name, [image], client_timeout=TIMEOUT_S)


def test_a_port_that_is_taken_is_an_error(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = str(other.getsockname()[1])
        command = [sys.executable, "-m", "edgetl", "serve", str(bundle), "--port", "0", "--grpc-port", taken]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and f"cannot listen on `127.0.0.1:{taken}` for gRPC" in done.stderr
    assert "try another `--grpc-port`" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_under_load_every_call_that_was_answered_reached_its_client(
    start_server: StartServer, bundle: Path, image: triton.InferInput
) -> None:
    server = start_server(bundle, "--grpc-port", "0", "--access-log")
    outcomes: Counter[str] = Counter()

    def ask() -> None:
        with triton.InferenceServerClient(where(server)) as client:
            while True:
                try:
                    client.infer(bundle.name, [image], client_timeout=TIMEOUT_S)
                    outcomes["OK"] += 1
                except InferenceServerException as error:
                    outcomes[str(error.status())] += 1
                    return

    clients = [threading.Thread(target=ask) for _ in range(12)]
    for each in clients:
        each.start()
    time.sleep(1.0)
    assert server.stop() == 0
    for each in clients:
        each.join(TIMEOUT_S)
        assert not each.is_alive()
    answered = sum(line["event"] == "request" and line["status"] == 200 for line in server.log)
    assert set(outcomes) == {"OK", "StatusCode.UNAVAILABLE"}
    assert outcomes["OK"] == answered > 100 and outcomes["StatusCode.UNAVAILABLE"] == len(clients)
