"""What does a check cost, and what do the fault hypotheses add to it?

python -m benchmarks.check_cost BUNDLE [REPEATS]

Wall time and peak memory of `edgetl check` with all variants in a process of its own; then, in one process, the check
as it is, without any hypothesis about the answers, and with a preparation that is wrong, so that all are tried.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgetl.bundle import Bundle, open_bundle
from edgetl.devices.catalogue import host_profile
from edgetl.devices.check import check
from edgetl.devices.hypotheses import PREFIX
from edgetl.devices.preparations import wrong_preparations
from edgetl.types import Pixels


def process_cost(bundle: Path) -> tuple[float, float, int]:
    """Seconds, peak resident MB and number of variants of one `edgetl check`."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "edgetl", "check", str(bundle), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        report = json.loads(child.stdout.read())
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - began, usage.ru_maxrss / 1024, len(report["variants"])


def without_hypotheses(path: Path) -> Bundle:
    bundle = open_bundle(path)
    golden = bundle.golden()
    for name in [name for name in golden if name.startswith(PREFIX)]:
        del golden[name]
    return bundle


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main(path: Path, repeats: int) -> None:
    spec = open_bundle(path).manifest.task.input
    squash = wrong_preparations(spec)["nearest squash for bilinear crop"]

    def wrong(encoded: Sequence[bytes]) -> Pixels:
        return np.stack([squash(content) for content in encoded])

    for _ in range(repeats):
        seconds, megabytes, variants = process_cost(path)
        print(f"check of {variants} variants: {seconds:.1f} s, {megabytes:.0f} MB at most", flush=True)
    ways: dict[str, Callable[[], object]] = {
        "no hypotheses": lambda: check(without_hypotheses(path), host_profile()),
        "as it is": lambda: check(open_bundle(path), host_profile()),
        "every preparation tried": lambda: check(open_bundle(path), host_profile(), preprocess=wrong),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, work in ways.items():
            times[name].append(timed(work))
    plain = statistics.median(times["no hypotheses"])
    for name, seconds_of in times.items():
        median = statistics.median(seconds_of)
        print(f"{name}: {median:.2f} s, {median / plain:.2f} × (median of {repeats})")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
