"""Servers as their users start them: `edgetl serve` in a process of its own, on a free port of the loopback."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

START_S = 60
END_S = 30

StartServer = Callable[..., "RunningServer"]


class RunningServer:
    """A server that has said where it listens; `log` holds its lines on stderr, decoded."""

    def __init__(self, *arguments: str | Path) -> None:
        command = [sys.executable, "-m", "edgetl", "serve", *map(str, arguments), "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.log: list[dict[str, object]] = []
        self._said = threading.Event()
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        assert self._said.wait(START_S), "the server said nothing"
        said = [line["address"] for line in self.log if line["event"] == "serving"]
        assert said, self.log
        self.url = str(said[0])
        self.host, _, port = self.url.partition("://")[2].rpartition(":")
        self.port = int(port)

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            try:
                self.log.append(json.loads(line))
            except json.JSONDecodeError:
                self.log.append({"event": "not json", "text": line})
            if self.log[-1]["event"] == "serving":
                self._said.set()
        self._said.set()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it as an orchestrator does; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._reader.join(END_S)
            assert self.process.stderr is not None
            self.process.stderr.close()


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Starts servers with the given arguments, and ends them after the test."""
    running: list[RunningServer] = []

    def start(*arguments: str | Path) -> RunningServer:
        running.append(RunningServer(*arguments))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture(scope="session")
def server(bundle: Path) -> Iterator[RunningServer]:
    """One server of the session's bundle, shared by the tests that change nothing about it."""
    running = RunningServer(bundle, "--queue", "64")
    yield running
    running.stop()
