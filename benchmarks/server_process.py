"""A server under test in a process of its own: started on a free port, awaited, weighed, ended with all it started."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

START_S, END_S = 60.0, 15.0
TICKS = os.sysconf("SC_CLK_TCK")


class Server(NamedTuple):
    """`port` on the loopback; `pid` is also the id of the group of all its processes."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """Processor time that its processes took so far, those of its main process's ended children included."""
        return sum(sum(map(int, _stat(pid)[11:13])) for pid in self._members()) / TICKS

    def resident_mb(self) -> float:
        """Resident memory of the main process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024

    def _members(self) -> list[int]:
        numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return [pid for pid in numbers if _stat(pid)[2:3] == [str(self.pid)]]


def edgetl(bundle: Path, *options: object) -> list[str]:
    """The command line of `edgetl serve`, without the port."""
    return [sys.executable, "-m", "edgetl", "serve", str(bundle), *map(str, options)]


@contextmanager
def running(
    command: Sequence[str],
    ready: str,
    environment: Mapping[str, str] | None = None,
    cores: set[int] | None = None,
    folder: Path | None = None,
) -> Iterator[Server]:
    """`command` with `{port}` filled in, in `folder`, from the moment on that GET `ready` says 200; only on `cores`."""
    port = _free_port()
    arguments = [part.replace("{port}", str(port)) for part in command]
    with TemporaryFile() as log:
        told = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the server would outlive us
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores or before)  # a child inherits it
        process = subprocess.Popen(
            arguments,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
            cwd=folder,
            start_new_session=True,
        )
        os.sched_setaffinity(0, before)
        try:
            _await(process, port, ready, log)
            yield Server(process.pid, port)
            if process.poll() is not None:
                sys.exit(f"the server ended by itself, with {process.returncode}:\n{_tail(log)}")
        finally:
            _end(process)
            signal.signal(signal.SIGTERM, told)


def _await(process: subprocess.Popen[bytes], port: int, ready: str, log: IO[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", ready)
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass  # not yet
        finally:
            connection.close()
        time.sleep(0.1)
    sys.exit(f"`{' '.join(map(str, process.args))}` did not come up:\n{_tail(log)}")  # type: ignore[arg-type]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks its main process, as an orchestrator does, then ends what is left of the group."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _tail(log: IO[bytes]) -> str:
    log.seek(max(0, log.seek(0, os.SEEK_END) - 3000))
    return log.read().decode(errors="replace")
