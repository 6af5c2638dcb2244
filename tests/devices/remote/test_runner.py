import fcntl
import signal
import subprocess
import sys
from pathlib import Path

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
