"""The commands that run here for another machine: each in a folder of its own, whether or not anyone is connected.

A job's folder holds `job.json` (what runs), `places/`, `messages` and `output` as they are written, `plans/` it wrote,
`waiting` (whom for), and last `exit.json`. `alive` is locked as long as the runner lives, `asked` is touched whenever
home asks.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from edgetl.devices.remote.protocol import Seen, Start, Started
from edgetl.devices.remote.store import Store, older_than, safe
from edgetl.errors import ArtefactError, ConfigError
from edgetl.files import read_json, write_json

KEPT_SECONDS = 86_400.0
KEPT_JOBS = 20
"""What nobody fetched is removed after a day, or when there are more of them."""

END_SECONDS = 15.0
"""So long a job that is told to end may take."""

RUNNER = (sys.executable, "-m", "edgetl.devices.remote.runner")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`job.json`. `opened`: the places' paths; `bundle`: the one whose plans are kept; `who`: where home is."""

    words: tuple[str, ...]
    bundle: str
    manifest: str
    plans: dict[str, bytes]
    who: str


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """`exit.json`: how a job ended. `wrote`: file names of the plans it wrote."""

    exit_code: int
    wrote: tuple[str, ...] = ()


def start(root: Path, store: Store, request: Start) -> Started:
    """Lays out the places and lets a process of its own run the command; nothing when the job is there already.

    Called with the lock of `root` held. Raises ArtefactError for a path that leaves its place.
    """
    folder = job_folder(root, request.job)
    opened = [_opened(folder / "places" / str(number), place.opened) for number, place in enumerate(request.places)]
    if folder.is_dir():
        return Started(places=tuple(opened))
    staging = _nameless(folder)
    shutil.rmtree(staging, ignore_errors=True)
    try:
        (staging / "places").mkdir(mode=0o700, parents=True)
        places = enumerate(request.places)
        damaged = {
            sha256
            for number, place in places
            for sha256 in store.lay_out(place.entries, staging / "places" / str(number))
        }
        if damaged:
            return Started(damaged=tuple(sorted(damaged)))
        for name in ("messages", "output", "asked"):
            (staging / name).touch(mode=0o600)
        write_json(staging / "job.json", _job(request, opened))
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _launch(folder)
    return Started(places=tuple(opened))


def state_of(root: Path, job: str) -> Seen:
    """How the job is now. Raises ArtefactError when there is none."""
    folder = job_folder(root, job)
    if not folder.is_dir():
        raise ArtefactError(f"there is no job `{job}` on the device any more", hint="run the command again")
    alive = _alive(folder)  # before exit.json is looked for, which the runner writes last
    if (folder / "exit.json").is_file():
        ended = read_json(folder / "exit.json", Exit)
        size = (folder / "output").stat().st_size
        return Seen(state="ended", exit_code=ended.exit_code, output_bytes=size, wrote=ended.wrote)
    if not alive:
        return Seen(state="lost")
    with contextlib.suppress(FileNotFoundError):
        return Seen(state="waiting", holder=(folder / "waiting").read_text(encoding="utf-8"))
    return Seen(state="running")


def end(root: Path, job: str) -> bool:
    """Tells the job to end and waits for it; whether it has."""
    folder = job_folder(root, job)
    deadline = time.monotonic() + END_SECONDS
    told = False
    while _runs(folder):
        if not told and (folder / "pid").is_file():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int((folder / "pid").read_text()), signal.SIGTERM)
            told = True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def forget(root: Path, job: str) -> bool:
    """Removes what is left of a job that has ended; whether it has. Called with the lock of `root` held."""
    folder = job_folder(root, job)
    if _runs(folder):
        return False
    _remove(folder)
    return True


def expire(root: Path) -> None:
    """Removes what nobody fetched in time. Called with the lock of `root` held."""
    jobs = root / "jobs"
    jobs.mkdir(mode=0o700, exist_ok=True)
    for partial in jobs.glob(".*.partial"):
        shutil.rmtree(partial, ignore_errors=True)  # whoever began it held the lock
    over = [folder for folder in jobs.glob("[0-9a-f]*") if not _runs(folder)]
    over.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    for number, folder in enumerate(over):
        if number >= KEPT_JOBS or older_than(folder / "asked", KEPT_SECONDS):
            _remove(folder)


def _remove(folder: Path) -> None:
    """A job's folder is there whole or not at all, so it first loses its name."""
    nameless = _nameless(folder)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(nameless)
    shutil.rmtree(nameless, ignore_errors=True)


def _nameless(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.partial")


def job_folder(root: Path, job: str) -> Path:
    return root / "jobs" / job


def _job(request: Start, opened: list[str]) -> Job:
    slots = [word for word in request.words if isinstance(word, int)]
    if not all(0 <= number < len(opened) for number in (*slots, request.bundle)):
        raise ConfigError("the command names a place that was not sent")
    return Job(
        words=tuple(word if isinstance(word, str) else opened[word] for word in request.words),
        bundle=opened[request.bundle],
        manifest=request.manifest,
        plans=request.plans,
        who=os.environ.get("SSH_CONNECTION", "").split(" ")[0] or "this machine",
    )


def _opened(place: Path, opened: str) -> str:
    return str(place / safe(opened)) if opened else str(place)


def _launch(folder: Path) -> None:
    """The runner, in a session of its own; it inherits the lock that says it lives."""
    alive = os.open(folder / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX)
        with (folder / "messages").open("ab") as messages:
            runner = subprocess.Popen(
                [*RUNNER, str(folder)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=messages,
                start_new_session=True, pass_fds=(alive,), cwd=folder,
            )  # fmt: skip
        (folder / "pid").write_text(str(runner.pid))
        _launched.append(runner)
    finally:
        os.close(alive)


_launched: list["subprocess.Popen[bytes]"] = []
"""Runners outlive this process; holding them keeps Python from warning of that."""


def _runs(folder: Path) -> bool:
    """Whether the runner still has something to do."""
    return _alive(folder) and not (folder / "exit.json").is_file()


def _alive(folder: Path) -> bool:
    """Whether the runner holds its lock."""
    try:
        with (folder / "alive").open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
