"""Asks all devices of a fleet at once, and takes each one's failure as its own."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from pathlib import Path
from typing import Any, Protocol

import msgspec

from edgetl.devices.fleet.answer import read_answer
from edgetl.devices.fleet.config import FleetDevice
from edgetl.devices.fleet.summary import DeviceReport, failed, judged, verdict_of
from edgetl.devices.remote.run import RemoteResult, run_remote
from edgetl.devices.remote.target import Target
from edgetl.errors import DependencyError, EdgetlError, first_line

AT_ONCE = 8

LAST_WORD_S = 10.0
"""After an interrupt so long is waited for the devices to be told."""

Say = Callable[[str, str], None]
"""Hears a device's name and a line about it."""


class Runner(Protocol):
    """`run_remote`, or what stands in for it."""

    def __call__(
        self, target: Target, arguments: Sequence[str | Path], *, bundle: Path, say: Callable[[str], None],
        stop: threading.Event,
    ) -> RemoteResult: ...  # fmt: skip


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A device and the command line that it is asked to run."""

    device: FleetDevice
    words: tuple[str | Path, ...]


def ask_all(
    questions: Sequence[Question],
    kind: type[Any],
    *,
    bundle: Path,
    say: Say,
    at_once: int = AT_ONCE,
    runner: Runner = run_remote,
) -> tuple[DeviceReport, ...]:
    """A report of `kind`, or an error, for every question, in their order.

    At most `at_once` computers work at a time, each on one question. What interrupts the wait ends all of them.
    """
    stop = threading.Event()
    by_address: dict[str, list[int]] = {}
    for number, question in enumerate(questions):
        by_address.setdefault(question.device.address, []).append(number)

    def in_turn(numbers: Sequence[int]) -> list[tuple[int, DeviceReport]]:
        left = (number for number in numbers if not stop.is_set())
        return [(number, _ask(questions[number], kind, bundle, say, runner, stop)) for number in left]

    pool = ThreadPoolExecutor(max_workers=min(at_once, len(by_address)))
    waiting = [pool.submit(in_turn, numbers) for numbers in by_address.values()]
    try:
        found = dict(pair for done in as_completed(waiting) for pair in done.result())
    except BaseException:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        wait([each for each in waiting if not each.cancelled()], timeout=LAST_WORD_S)
        raise
    pool.shutdown()
    return tuple(found[number] for number in range(len(questions)))


def _ask(
    question: Question, kind: type[Any], bundle: Path, say: Say, runner: Runner, stop: threading.Event
) -> DeviceReport:
    device, began = question.device, time.monotonic()
    who, prefix = (device.name, device.address), f"{device.target.host}: "
    say(device.name, f"asking {device.address}")
    try:
        with _Limit(device.timeout_s, stop) as ends:
            result = runner(
                device.target, question.words, bundle=bundle, stop=ends,
                say=lambda text: say(device.name, text.removeprefix(prefix)),
            )  # fmt: skip
        report = msgspec.structs.replace(read_answer(result, kind, device.name), bundle=str(bundle))
        found = judged(*who, time.monotonic() - began, report)
    except EdgetlError as error:
        found = failed(*who, time.monotonic() - began, error)
    except OSError as error:  # of this computer, but the other devices' results stand
        found = failed(*who, time.monotonic() - began, EdgetlError(f"{device.name}: {first_line(error)}"))
    ending = f"not judged: {found.error.message}" if found.error else verdict_of(found.report) or "measured"
    say(device.name, f"{ending}, after {found.seconds:.0f} s")
    return found


class _Limit:
    """An event that is set after `seconds`, or when `stop` is. The interrupt that follows from time is an error."""

    def __init__(self, seconds: float, stop: threading.Event) -> None:
        self._seconds, self._stop = seconds, stop
        self._ends, self._done = threading.Event(), threading.Event()
        self._watch = threading.Thread(target=self._set, daemon=True)

    def __enter__(self) -> threading.Event:
        self._watch.start()
        return self._ends

    def __exit__(self, _: object, error: object, __: object) -> None:
        self._done.set()
        self._watch.join()
        if isinstance(error, KeyboardInterrupt) and self._ends.is_set() and not self._stop.is_set():
            raise DependencyError(
                f"not done after {self._seconds:g} s", hint="allow more `timeout_s`, or look at the device"
            ) from error

    def _set(self) -> None:
        deadline = time.monotonic() + self._seconds
        while not (self._done.wait(0.1) or self._ends.is_set()):
            if self._stop.is_set() or time.monotonic() > deadline:
                self._ends.set()
