import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgetl.devices.remote.jobs import Exit, Job
from edgetl.files import read_json, write_json

RUNNER = """
import signal, sys
from pathlib import Path
from edgetl.devices.remote import runner
runner.ABANDONED_SECONDS = 0.3
runner.COMMAND = tuple(sys.argv[2:])
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGCHLD))
runner.run(Path(sys.argv[1]))
"""


def job(root: Path) -> Path:
    """A job that is about to run."""
    folder = root / "jobs" / "0"
    (folder / "places" / "0").mkdir(parents=True)
    (folder / "asked").touch()
    bundle = str(folder / "places" / "0")
    write_json(folder / "job.json", Job(words=("check",), bundle=bundle, manifest="0" * 64, plans={}, who="home"))
    return folder


def run(folder: Path, *command: str) -> str:
    """Runs `command` in place of edgetl; what was written on stderr."""
    whole = [sys.executable, "-c", RUNNER, str(folder), *command]
    return subprocess.run(whole, stderr=subprocess.PIPE, text=True, timeout=60, check=True).stderr


def test_a_job_that_nobody_asks_about_ends_by_itself(tmp_path: Path) -> None:
    folder = job(tmp_path)
    with (tmp_path / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "nobody asked for 0 s" in run(folder)
    assert read_json(folder / "exit.json", Exit).exit_code == 130


def test_a_command_that_was_killed_says_so(tmp_path: Path) -> None:
    folder = job(tmp_path)
    assert f"killed by signal {signal.SIGKILL}" in run(folder, "sh", "-c", "kill -9 $$")
    assert read_json(folder / "exit.json", Exit).exit_code == 1


def test_the_lock_is_held_as_long_as_the_command_lives(tmp_path: Path) -> None:
    folder = job(tmp_path)
    script = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    assert "BlockingIOError" in run(folder, sys.executable, "-c", script, str(tmp_path / "run.lock"))
    assert read_json(folder / "exit.json", Exit).exit_code == 1


Begun = Callable[[], tuple["subprocess.Popen[bytes]", Path, int]]
"""A runner, its job's folder and the process that its command is."""

SLEEP = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Begun]:
    runners: list[subprocess.Popen[bytes]] = []

    def begin() -> tuple["subprocess.Popen[bytes]", Path, int]:
        folder, said = job(tmp_path), tmp_path / "pid"
        whole = [sys.executable, "-c", RUNNER, str(folder), sys.executable, "-c", SLEEP, str(said)]
        runners.append(subprocess.Popen(whole, stderr=subprocess.DEVNULL))
        until(lambda: said.is_file() and said.read_text())
        return runners[-1], folder, int(said.read_text())

    yield begin
    for each in runners:
        each.kill()
        each.wait()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_a_command_does_not_outlive_a_runner_that_was_killed(begun: Begun) -> None:
    runner, _, command = begun()
    runner.kill()
    until(lambda: gone(command))


def test_a_command_whose_folder_is_deleted_ends(begun: Begun) -> None:
    runner, folder, command = begun()
    shutil.rmtree(folder.parent)
    os.kill(runner.pid, signal.SIGCHLD)  # or it would look only after a while
    assert runner.wait(30) != 0
    assert gone(command)


def test_whoever_waits_writes_only_what_is_new(tmp_path: Path) -> None:
    """A write is synced, which the job that measures would notice on a slow disk."""
    folder = job(tmp_path)
    counted = (
        "writes = []\nrunner.write_bytes = lambda path, content: writes.append(content)\nrunner.TURN_SECONDS = 0.01\n"
    )
    looks = RUNNER.replace("runner.run(", counted + "runner.run(") + "print(len(writes))\n"
    with (tmp_path / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        whole = [sys.executable, "-c", looks, str(folder)]
        done = subprocess.run(
            whole, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60, check=True
        )
    assert done.stdout == "1\n"
