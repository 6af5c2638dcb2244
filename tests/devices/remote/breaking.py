"""Runs whose connection is broken at random moments, and what became of each."""

import json
import random
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
from tests.devices.remote.machine import Machine

from edgetl.bundle import open_bundle
from edgetl.devices.remote.run import run_remote
from edgetl.errors import EdgetlError


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended. `cuts`: moments in s; `reconnected`: how often it said so; `half`: laid-out copies not whole."""

    cuts: list[float]
    verdict: str
    error: str
    seconds: float
    reconnected: int
    half: int


class Breaking(threading.Thread):
    """Cuts the machine's connections when it has `files` files, and at `moments` (s after the start); looks at every
    copy that is laid out.
    """

    def __init__(
        self, machine: Machine, bundle: Path, files: int, moments: list[float], *, down_seconds: float
    ) -> None:
        super().__init__(daemon=True)
        self._machine, self._moments, self._down = machine, sorted(moments), down_seconds
        self._files: int | None = files
        self._listed = {record.path: record.size for record in open_bundle(bundle).manifest.files}
        self._done = threading.Event()
        self.cuts: list[float] = []
        self.half = 0
        self.start()

    def run(self) -> None:
        began = time.monotonic()
        while not self._done.wait(0.01):
            self._look()
            if self._due(time.monotonic() - began) and self._break():
                self.cuts.append(round(time.monotonic() - began, 2))

    def finish(self) -> None:
        self._done.set()
        self.join()

    def _due(self, seconds: float) -> bool:
        if self._files is not None and len(self._machine.objects()) >= self._files:
            self._files = None
            return True
        if self._moments and seconds >= self._moments[0]:
            self._moments.pop(0)
            return True
        return False

    def _break(self) -> int:
        """How many connections there were to break."""
        broken = self._machine.cut()
        if self._down:
            self._machine.stop()
            time.sleep(self._down)
            self._machine.start()
        return broken

    def _look(self) -> None:
        """A job's bundle is there whole, or not at all."""
        for job in self._machine.jobs():
            place = job / "places" / "0"
            try:
                if any((place / path).stat().st_size != size for path, size in self._listed.items()):
                    self.half += 1
            except FileNotFoundError:
                self.half += job.is_dir()


def run(machine: Machine, bundle: Path) -> tuple[str, str, list[str]]:
    """The verdict, or the error; and what was said."""
    said: list[str] = []
    try:
        result = run_remote(machine.target(), ["check", bundle, "--json"], bundle=bundle, say=said.append)
    except EdgetlError as error:
        return "", str(error), said
    return verdicts(json.loads(result.output)), "", said


def verdicts(report: dict[str, Any]) -> str:
    return ", ".join(f"{each['id']} {each['verdict']}" for each in report["variants"])


def broken(machine: Machine, bundle: Path, files: int, moments: list[float], *, down_seconds: float) -> Outcome:
    """A run from nothing on the machine, with its connection broken at `files` files there, and at `moments`."""
    shutil.rmtree(machine.store, ignore_errors=True)
    breaking = Breaking(machine, bundle, files, moments, down_seconds=down_seconds)
    began = time.monotonic()
    try:
        verdict, error, said = run(machine, bundle)
    finally:
        breaking.finish()
    return Outcome(
        cuts=breaking.cuts,
        verdict=verdict,
        error=error,
        seconds=time.monotonic() - began,
        reconnected=sum("connecting again" in line for line in said),
        half=breaking.half,
    )


def measure(machine: Machine, bundle: Path, breaks: int, seed: int) -> list[Outcome]:
    """`breaks` runs, each broken once while it copies or soon after, and up to twice more; every fourth loses the
    server for a while too. Exits when one is wrong.
    """
    shutil.rmtree(machine.store, ignore_errors=True)
    began = time.monotonic()
    expected, error, _ = run(machine, bundle)
    seconds = time.monotonic() - began
    if not expected:
        sys.exit(error)
    print(f"undisturbed: {expected}, {seconds:.1f} s", flush=True)
    rng = random.Random(seed)
    files = len({record.sha256 for record in open_bundle(bundle).manifest.files})
    outcomes = []
    for number in range(breaks):
        moments = [rng.uniform(0, seconds) for _ in range(rng.randint(0, 2))]
        down = 1.5 if number % 4 == 3 else 0
        outcome = broken(machine, bundle, rng.randint(0, files), moments, down_seconds=down)
        after, error, _ = run(machine, bundle)
        print(f"{number + 1}: {msgspec.json.encode(outcome).decode()}", flush=True)
        if outcome.half or after != expected or (outcome.verdict or expected) != expected:
            sys.exit(f"wrong: {outcome}, and a run after it: {after} {error}")
        outcomes.append(outcome)
    return outcomes
