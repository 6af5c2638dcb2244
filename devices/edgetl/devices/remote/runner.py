"""Runs one job in a process that no connection can end: waits its turn, runs `edgetl`, says last how that ended.

`python -m edgetl.devices.remote.runner JOB_FOLDER`
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from edgetl.devices.remote.jobs import Exit, Job
from edgetl.devices.remote.kept_plans import bring_plans, keep_plans
from edgetl.errors import EdgetlError
from edgetl.files import read_json, write_bytes, write_json

ABANDONED_SECONDS = 600.0
"""A job that home has not asked about for so long is ended."""

MAX_SECONDS = 2 * 86_400.0
"""No job may take longer."""

GRACE_SECONDS = 10.0
"""After so long a command that was told to end is killed."""

TURN_SECONDS = 0.25
COMMAND = (sys.executable, "-m", "edgetl")


class Ended(Exception):
    """Home, or a limit, ends the job: why."""


class Watch:
    """Waits for signals, and notices when nobody asks any more. Time is counted without the wall clock, which a
    board without a battery sets when it finds the network.
    """

    def __init__(self, folder: Path) -> None:
        self._asked = folder / "asked"
        self._began = self._changed = time.monotonic()
        self._stamp = self._asked.stat().st_mtime_ns

    def wait(self, seconds: float) -> None:
        """Returns after a child ended or `seconds`. Raises Ended."""
        found = signal.sigtimedwait((signal.SIGTERM, signal.SIGCHLD), seconds)
        if found is not None and found.si_signo == signal.SIGTERM:
            raise Ended("ended on request")
        now, stamp = time.monotonic(), self._asked.stat().st_mtime_ns
        if stamp != self._stamp:
            self._stamp, self._changed = stamp, now
        if now - self._changed > ABANDONED_SECONDS:
            raise Ended(f"nobody asked for {ABANDONED_SECONDS:.0f} s")
        if now - self._began > MAX_SECONDS:
            raise Ended(f"not done after {MAX_SECONDS:.0f} s")


def run(folder: Path) -> None:
    """Runs the job in `folder`; `exit.json` is written last, whatever happens to the command."""
    root, job, watch = folder.parent.parent, read_json(folder / "job.json", Job), Watch(folder)
    try:
        with _turn(root, folder, job, watch) as turn:
            kept = root / "plans" / job.manifest
            known = bring_plans(kept, Path(job.bundle), job.plans)
            try:
                code = _run_command(folder, job, watch, turn)
            finally:  # a tune that was ended goes on where it was
                wrote = keep_plans(kept, Path(job.bundle), folder, known)
        ended = Exit(exit_code=code, wrote=wrote)
    except Ended as why:
        _tell(f"error: the job was ended: {why}")
        ended = Exit(exit_code=130)
    except (OSError, EdgetlError) as error:
        _tell(f"error: the device could not run the job: {error}")
        ended = Exit(exit_code=1)
    write_json(folder / "exit.json", ended)


@contextlib.contextmanager
def _turn(root: Path, folder: Path, job: Job, watch: Watch) -> Iterator[int]:
    """Waits until no other job runs on this machine, for measurements disturb each other; yields the lock's file."""
    with (root / "run.lock").open("a+", encoding="utf-8") as stream:
        told = None
        while not _locked(stream.fileno()):
            stream.seek(0)
            if (holder := stream.read(300)) != told:  # each write is synced, which whoever measures would notice
                write_bytes(folder / "waiting", holder.encode())
                told = holder
            watch.wait(TURN_SECONDS)
        (folder / "waiting").unlink(missing_ok=True)
        stream.truncate(0)
        stream.write(f"`{job.words[0]}` from {job.who} since {time.strftime('%H:%M:%S UTC', time.gmtime())}")
        stream.flush()
        yield stream.fileno()


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _run_command(folder: Path, job: Job, watch: Watch, turn: int) -> int:
    """The exit code of the command, which does not outlive this process. It holds the lock too: as long as it lives,
    it counts.
    """
    with (folder / "output").open("wb") as output:
        child = subprocess.Popen(
            [*COMMAND, *job.words], stdin=subprocess.DEVNULL, stdout=output, start_new_session=True, pass_fds=(turn,),
            cwd=folder, preexec_fn=_listen,
        )  # fmt: skip
        try:
            while child.poll() is None:
                watch.wait(15.0)
        except BaseException:
            _end(child)
            raise
    if child.returncode < 0:
        _tell(f"error: the command was killed by signal {-child.returncode}\nhint: was there enough memory?")
        return 1
    return child.returncode


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Ends the command and all it started, by force if it takes long."""
    child.terminate()
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _listen() -> None:
    """The command hears the signals that this process only waits for, and is told to end when this one is killed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
"""prctl(2), <linux/prctl.h>"""

_SIGNALS = (signal.SIGTERM, signal.SIGCHLD)

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    run(Path(sys.argv[1]))
