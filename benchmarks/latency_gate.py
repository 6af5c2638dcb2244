"""How often does the latency gate cry wolf, and how often does it miss 10 %, while something else keeps a core busy?

Each run measures a variant, the same once more, and the same slowed by 10 %, in turns in the same launches; compares
the first with the second and with the third; and declares a regression when the lower bound of the ratio is above
1.05. The rule most people use stands beside it: one launch, median over median above 1.05.

python -m benchmarks.latency_gate BUNDLE [RUNS] [VARIANT]
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from edgetl.devices import launch
from edgetl.devices.launches import LaunchPlan, Subject, measure_launches
from edgetl.devices.statistics import lower_rate, upper_rate
from edgetl.runtime.timing import ALPHA, ratio
from edgetl.types import Array

MARGIN, SLOWDOWN = 0.05, 0.10
THREADS = 1
"""One core is kept busy, so an engine with a thread for every core would time the scheduler.

It is the last core, because OpenVINO pins its single thread to the first and cannot evade a load there.
"""

SLOWED = (sys.executable, "-m", "benchmarks.latency_gate", "--slowed-launch")
SPIN = "import os\nos.sched_setaffinity(0, {max(os.sched_getaffinity(0))})\nwhile os.getppid() == %d: pass"


class Tally(msgspec.Struct):
    """Declared regressions of `runs` comparisons, by the gate and by the naive rule."""

    runs: int = 0
    gate: int = 0
    naive: int = 0

    def add(self, times: Array) -> None:
        """Counts one comparison; times of shape (2, launches, blocks, queries)."""
        self.runs += 1
        self.gate += ratio(times[0], times[1]).low > 1 + MARGIN
        self.naive += bool(np.median(times[1, 0]) > (1 + MARGIN) * np.median(times[0, 0]))


@contextmanager
def busy_core() -> Iterator[None]:
    """A child process pinned to one core that spins until the block ends, or until its parent is gone."""
    with subprocess.Popen([sys.executable, "-c", SPIN % os.getpid()]) as spinning:
        try:
            yield
        finally:
            spinning.kill()


def slowed(call: Callable[[int], object]) -> Callable[[int], object]:
    """The same call, followed by spinning for a tenth of the time it took."""

    def run(number: int) -> object:
        began = time.perf_counter()
        answer = call(number)
        ended = time.perf_counter()
        while time.perf_counter() < ended + SLOWDOWN * (ended - began):
            pass
        return answer

    return run


def report(name: str, same: Tally, slower: Tally, rule: str) -> None:
    """One rule's false alarms and finds, each with its bound."""
    wrong, found = getattr(same, rule), getattr(slower, rule)
    print(
        f"{name}: false alarms {wrong} of {same.runs} ({wrong / same.runs:.1%}, at most "
        f"{upper_rate(wrong, same.runs):.1%}); +{SLOWDOWN:.0%} found {found} of {slower.runs} "
        f"({found / slower.runs:.1%}, at least {lower_rate(found, slower.runs):.1%})"
    )


def main(bundle: Path, runs: int, variant: str) -> None:
    subject = Subject(bundle=str(bundle), variant=variant, options={"threads": THREADS})
    plan = LaunchPlan()
    tallies = {"same": Tally(), "slower": Tally()}
    seconds = []
    with busy_core():
        for number in range(runs):
            began = time.perf_counter()
            times = measure_launches([subject] * 3, plan, command=SLOWED)
            seconds.append(time.perf_counter() - began)
            for place, (name, tally) in enumerate(tallies.items(), start=1):
                tally.add(np.stack([times[0], times[place]]))
                found, p50 = ratio(times[0], times[place]), np.median(times[0])
                interval = f"{found.value:.3f} ({found.low:.3f} … {found.high:.3f})"
                print(f"{number + 1}/{runs} {name}: {interval}, p50 {p50:.2f} ms", file=sys.stderr, flush=True)
    print(f"{variant}, {THREADS} thread, one of {os.cpu_count()} cores kept busy; {plan.launches} launches × ", end="")
    print(f"{plan.blocks} blocks × {plan.queries} queries, margin {MARGIN:.0%}; bounds one-sided at {1 - ALPHA:.0%}")
    report("lower bound of the ratio above the margin", tallies["same"], tallies["slower"], "gate")
    report("naive, medians of one launch", tallies["same"], tallies["slower"], "naive")
    print(f"a run of three subjects takes {statistics.median(seconds):.1f} s (median; at most {max(seconds):.1f})")


if __name__ == "__main__":
    if sys.argv[1:] == ["--slowed-launch"]:
        launch.main(lambda calls: [*calls[:2], slowed(calls[2])])
    else:
        main(
            Path(sys.argv[1]),
            int(sys.argv[2]) if len(sys.argv) > 2 else 200,
            sys.argv[3] if len(sys.argv) > 3 else "openvino-fp32",
        )
