"""No damaged request ends in a crash, an error of the server's own, or memory that is kept."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.runtime.serve.conftest import RunningServer, StartServer
from tests.runtime.serve.mutations import KINDS, Good, answers, good_request
from tests.runtime.serve.wire import Wire

COUNT = 550
ROOM_MB = 300
"""What a server may need more at its peak; kept bodies of this many requests would be several times that."""


@pytest.fixture(scope="session")
def good(bundle: Path) -> Good:
    return good_request(bundle.name, "image", (1, 32, 32, 3))


def peak_mb(server: RunningServer) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def ask(server: RunningServer, good: Good) -> object:
    with Wire(server.port) as wire:
        answer = wire.ask(good.wire())
        assert answer is not None and answer.status == 200, answer
        return answer.json["outputs"]


@pytest.mark.slow
def test_damaged_requests_harm_nobody(start_server: StartServer, bundle: Path, good: Good) -> None:
    server = start_server(bundle, "--read-timeout-s", "0.5")
    before, memory = ask(server, good), peak_mb(server)

    def attempt(seed: int) -> list[int]:
        return answers(server.port, KINDS[seed % len(KINDS)](good, random.Random(seed)))

    with ThreadPoolExecutor(8) as clients:
        found = list(clients.map(attempt, range(COUNT)))
    statuses = Counter(status for each in found for status in each)
    assert all(status < 500 or status == 503 for status in statuses), statuses
    assert min(statuses[400], statuses[200]) > COUNT / 4 and len(statuses) > 5, "damage of many kinds"
    assert ask(server, good) == before
    assert peak_mb(server) < memory + ROOM_MB
    assert server.stop() == 0
    assert [line for line in server.log if "traceback" in line] == []


def test_a_few_of_every_kind(server: RunningServer, good: Good) -> None:
    """What the slow test does at length."""
    before = ask(server, good)
    for kind in KINDS:
        for seed in range(3):
            with Wire(server.port) as wire:
                wire.send(kind(good, random.Random(seed)))
                wire.socket.shutdown(1)
    assert ask(server, good) == before
    assert not [line for line in server.log if "traceback" in line]
