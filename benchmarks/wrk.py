"""A closed loop: wrk keeps connections busy with one prepared request, one thread, each connection waiting its turn."""

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.asks import Ask

CONNECTIONS = 16

SCRIPT = """
local file = io.open("%(body)s", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
%(headers)s
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\nfound {"requests": %%d, "seconds": %%f, "p50_ms": %%f, "p99_ms": %%f, "refused": %%d, "broken": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


class Closed(NamedTuple):
    """What wrk counted: answers in all, those of status 400 and more, and connections that broke or stood still."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int
    client_cpu_s: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def clean(self) -> bool:
        return self.refused == 0 and self.broken == 0


def closed_loop(port: int, ask: Ask, seconds: float, connections: int = CONNECTIONS) -> Closed:
    """Ends the program when wrk is missing."""
    if shutil.which("wrk") is None:
        sys.exit("`wrk` is missing; it makes the load (Debian package `wrk`: apt-get install wrk)")
    with TemporaryDirectory() as folder:
        body, script = Path(folder) / "body", Path(folder) / "ask.lua"
        body.write_bytes(ask.body)
        headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in ask.headers.items())
        script.write_text(SCRIPT % {"body": body, "headers": headers})
        url = f"http://127.0.0.1:{port}{ask.path}"
        command: list[str | Path] = [
            "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", script, url
        ]  # fmt: skip
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = [line for line in done.stdout.splitlines() if line.startswith("found ")]
    if not lines:
        sys.exit(f"wrk said nothing:\n{done.stdout}{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Closed(client_cpu_s=cpu, **json.loads(lines[0].removeprefix("found ")))
