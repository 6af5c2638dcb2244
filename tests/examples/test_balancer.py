"""Two replicas behind HAProxy are restarted one after the other, and no client notices."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "examples" / "balancer" / "haproxy.cfg"
LIMIT_S = 60


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(each.getsockname()[1]) for each in found]


def wait_ready(port: int, replica: str | None = None) -> None:
    """Until the port answers that it is ready; behind the balancer, until the replica of that name does."""
    until = time.monotonic() + LIMIT_S
    while True:
        assert time.monotonic() < until, f"nothing is ready on port {port}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5) as answer:
                if replica in (None, answer.headers["x-replica"]):
                    return
        except OSError:
            time.sleep(0.05)


@contextmanager
def running(*command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def ask(port: int, photo: bytes, stopped: threading.Event, answers: list[int | str]) -> None:
    """One request after the other, each on a new connection."""
    while not stopped.is_set():
        request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", data=photo)
        request.add_header("content-type", "image/png")
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                answers.append(answer.status if b'"slate"' in answer.read() else "another label")
        except OSError as error:
            answers.append(str(error))


def test_replicas_are_replaced_without_a_lost_request(bundle: Path, dataset: Path) -> None:
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed (Debian: haproxy)")
    public, *ports = free_ports(3)
    photo = next((dataset / "val" / "slate").iterdir()).read_bytes()
    replica = [sys.executable, "-m", "edgetl", "serve", str(bundle), "--queue", "512", "--timeout-s", "60", "--port"]
    answers: list[int | str] = []
    stopped = threading.Event()
    clients = [threading.Thread(target=ask, args=(public, photo, stopped, answers)) for _ in range(4)]
    names = {"PUBLIC": str(public), "ONE": str(ports[0]), "TWO": str(ports[1])}
    with running("haproxy", "-db", "-f", str(CONFIG), **names), ExitStack() as replicas:
        alive = [replicas.enter_context(running(*replica, str(port))) for port in ports]
        for name in ("one", "two"):
            wait_ready(public, name)
        for client in clients:
            client.start()
        try:
            for name, old, port in zip(("one", "two"), alive, ports, strict=True):
                before = len(answers)
                old.terminate()
                assert old.wait(LIMIT_S) == 0
                replicas.enter_context(running(*replica, str(port)))
                wait_ready(port)
                wait_ready(public, name)
                assert len(answers) > before
        finally:
            stopped.set()
            for client in clients:
                client.join(LIMIT_S)
    assert set(answers) == {200}
