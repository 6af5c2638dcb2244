"""Does any damaged request end in anything but an answer: an error of the server's own, a crash, memory that is kept?

python -m benchmarks.serve_mutations BUNDLE [COUNT]

COUNT (10,000) seeded requests over eleven kinds of damage go to a server of its own, 16 at a time; the same good
request before and after them must have the same answer.
"""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.runtime.serve.mutations import KINDS, Good, answers, good_request
from tests.runtime.serve.wire import Wire

from edgetl.bundle import open_bundle

CLIENTS = 16
READ_TIMEOUT_S = 0.5
START_S = 120


def main(folder: Path, count: int) -> None:
    bundle = open_bundle(folder)
    spec = bundle.manifest.inputs[0]
    good = good_request(folder.resolve().name, spec.name, (1, *(int(axis) for axis in spec.shape[1:])))
    command = [sys.executable, "-m", "edgetl", "serve", str(folder), "--port", "0", "--read-timeout-s"]
    with subprocess.Popen([*command, str(READ_TIMEOUT_S)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = int(next(_address(line) for line in process.stderr if '"serving"' in line).rpartition(":")[2])
        with ThreadPoolExecutor(CLIENTS + 1) as clients:
            log = clients.submit(process.stderr.readlines)
            failures = _report(process.pid, port, good, count, clients)
            process.terminate()
            code, lines = process.wait(START_S), log.result()
    tracebacks = [line for line in lines if "traceback" in line]
    print(f"exit code {code}; {len(lines)} lines of log, {len(tracebacks)} with a traceback")
    for line in [*failures, *tracebacks][:20]:
        print(line.rstrip()[-1000:])
    sys.exit(bool(failures or tracebacks or code))


def _report(process: int, port: int, good: Good, count: int, clients: ThreadPoolExecutor) -> list[str]:
    before, memory = _ask(port, good), _memory_mb(process)
    began, tally, failures = time.perf_counter(), Counter[str](), []
    for statuses, failure in clients.map(lambda seed: _try(port, good, seed), range(count)):
        tally.update(statuses)
        failures += failure
    seconds = time.perf_counter() - began
    print(f"{count:,} damaged requests in {seconds:.0f} s: {sum(tally.values()):,} answers, {len(failures)} failures")
    print(", ".join(f"{number:,} × {status}" for status, number in sorted(tally.items())))
    print(f"peak memory of the server: {memory:.0f} MB before, {_memory_mb(process):.0f} MB after")
    if _ask(port, good) != before:
        failures.append("a good request has another answer than before")
    return failures


def _try(port: int, good: Good, seed: int) -> tuple[list[str], list[str]]:
    """The statuses, and what was wrong with them."""
    kind = KINDS[seed % len(KINDS)]
    try:
        found = answers(port, kind(good, random.Random(seed)))
    except (AssertionError, OSError) as error:
        return [], [f"seed {seed}, {kind.__name__}: {type(error).__name__} {error}"]
    wrong = [status for status in found if status >= 500 and status != 503]
    return [str(status) for status in found], [f"seed {seed}, {kind.__name__}: {found}"] if wrong else []


def _ask(port: int, good: Good) -> object:
    with Wire(port) as wire:
        answer = wire.ask(good.wire())
        assert answer is not None and answer.status == 200, answer
        return answer.json["outputs"]


def _address(line: str) -> str:
    return str(json.loads(line)["address"])


def _memory_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
