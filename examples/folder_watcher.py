"""Classifies every image that arrives in a folder, once, and keeps a journal of the answers.

python examples/folder_watcher.py BUNDLE INBOX [--settle 1] [--once]

INBOX/answers.jsonl gets one line a file; then the file moves to INBOX/done or, when it cannot be decoded, to
INBOX/failed. A file counts as whole when its size and time have not changed for `--settle` seconds, whether it was
written in place or renamed into the folder. Killed at any moment, the next start goes on: nothing is answered twice.
"""

import argparse
import contextlib
import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from edgetl.errors import ConfigError, DataError, EdgetlError
from edgetl.runtime import Session, load
from edgetl.tasks.images import SUFFIXES

JOURNAL = "answers.jsonl"
POLL_S = 0.2


class State(NamedTuple):
    """A file that shows another state has been written to. `changed` is in nanoseconds."""

    size: int
    changed: int


class Journal:
    """One JSON object a line, on the disk before anything else happens. A half-written last line is cut off.

    Raises ConfigError while another process has it open.
    """

    def __init__(self, path: Path) -> None:
        self._stream: BinaryIO = path.open("a+b")
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._stream.close()
            raise ConfigError(f"`{path.parent}` is being watched already", hint="stop the other watcher") from error
        self._stream.seek(0)
        whole, last = 0, b"{}"
        for line in self._stream:
            if line.endswith(b"\n"):
                whole, last = whole + len(line), line
        self.last = self._entry(path, last)
        self._stream.truncate(whole)

    def _entry(self, path: Path, line: bytes) -> dict[str, Any]:
        try:
            return dict(json.loads(line))
        except (ValueError, TypeError) as error:
            self._stream.close()
            raise ConfigError(f"the last line of `{path}` is no answer", hint="move the file away") from error

    def write(self, entry: dict[str, Any]) -> None:
        self._stream.write(json.dumps(entry).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.last = entry

    def close(self) -> None:
        self._stream.close()


def whole_files(inbox: Path, seen: dict[Path, tuple[State, float]], settle_s: float, now: float) -> Iterator[Path]:
    """The images that have stayed as they are for `settle_s`; `seen` remembers since when, between calls."""
    states: dict[Path, State] = {}
    for path in sorted(inbox.iterdir()):
        if path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file():
            with contextlib.suppress(FileNotFoundError):  # taken away again
                states[path] = state_of(path)
    for path in seen.keys() - states.keys():
        del seen[path]
    for path, state in states.items():
        if path not in seen or seen[path][0] != state:
            seen[path] = state, now
        if now - seen[path][1] >= settle_s:
            yield path


def state_of(path: Path) -> State:
    found = path.stat()
    return State(found.st_size, found.st_mtime_ns)


def handle(model: Session, journal: Journal, path: Path) -> None:
    """Answers one file, writes it down, and only then moves the file."""
    with contextlib.suppress(FileNotFoundError):
        name = {"file": path.name, **state_of(path)._asdict()}
        if name.items() <= journal.last.items():  # killed between the journal and the move
            entry = journal.last
        else:
            entry = {**name, **_answer(model, path)}
            if "error" in entry and not path.exists():
                return
            journal.write(entry)
            print(json.dumps(entry), flush=True)
        place = path.parent / ("failed" if "error" in entry else "done")
        place.mkdir(exist_ok=True)
        path.rename(_free(place / path.name))


def _answer(model: Session, path: Path) -> dict[str, Any]:
    try:
        best = model.predict(path, top=1).top[0]
    except DataError as error:
        return {"error": error.message}
    return {"label": best.label, "probability": best.probability, "variant": model.variant.id}


def _free(path: Path) -> Path:
    """`path`, or with a number when a file of that name came before."""
    number = 1
    wanted = path
    while path.exists():
        path = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        number += 1
    return path


def watch(model: Session, inbox: Path, settle_s: float, stopped: Callable[[], bool], *, once: bool = False) -> None:
    """Until `stopped`, or with `once` until nothing is left that was there at the start."""
    seen: dict[Path, tuple[State, float]] = {}
    journal = Journal(inbox / JOURNAL)
    try:
        while not stopped():
            for path in whole_files(inbox, seen, settle_s, time.monotonic()):
                handle(model, journal, path)
                if stopped():
                    return
            if once and not any(path.exists() for path in seen):
                return
            time.sleep(POLL_S)
    finally:
        journal.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("inbox", type=Path)
    parser.add_argument("--settle", type=float, default=1.0, metavar="SECONDS", help="unchanged for so long is whole")
    parser.add_argument("--once", action="store_true", help="handle what is there, then end")
    chosen = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())  # the image in hand is finished first
    try:
        if not chosen.inbox.is_dir():
            raise ConfigError(f"`{chosen.inbox}` is no folder", hint="make it first")
        with load(chosen.bundle) as model:
            watch(model, chosen.inbox, chosen.settle, stop.is_set, once=chosen.once)
    except EdgetlError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
