"""What does a check on another machine cost beside the same check here?

python -m benchmarks.remote_overhead BUNDLE [ROUNDS]

The other machine is this one, over a real `sshd` on loopback with a cache of its own; its files are copied in a first
run that is not counted. Then a fresh `edgetl check` here and the same command over SSH take turns. What the connection
adds does not depend on how long the check takes, so a small bundle makes the ratio worse.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.devices.remote.machine import Machine, running

REMOTE = """
import json, sys
from pathlib import Path
from edgetl.devices.remote.run import run_remote
from edgetl.devices.remote.target import parse_target

address, command, config, bundle = sys.argv[1:]
target = parse_target(address, edgetl=command, config=config, interactive=False)
result = run_remote(
    target, ["check", Path(bundle), "--json"], bundle=Path(bundle), say=lambda line: print(line, file=sys.stderr)
)
sys.stdout.buffer.write(result.output)
sys.exit(result.exit_code)
"""


def timed(command: Sequence[str]) -> tuple[float, int]:
    """Wall time of a process, s, and its exit code."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if not done.stdout:
        sys.exit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr}")
    return time.perf_counter() - began, done.returncode


def main(bundle: Path, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as machine:
        ways = {"here": here(bundle), "over SSH": there(machine, bundle)}
        first, _ = timed(ways["over SSH"])
        print(f"first run over SSH, with the copy: {first:.2f} s", flush=True)
        timed(ways["here"])
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            order = list(ways) if number % 2 else list(ways)[::-1]
            found = {name: timed(ways[name]) for name in order}
            if len({code for _, code in found.values()}) > 1:
                sys.exit(f"the two exit codes differ: {found}")
            for name, (seconds, _) in found.items():
                times[name].append(seconds)
            print(", ".join(f"{name} {found[name][0]:.2f} s" for name in ways), flush=True)
        medians = {name: statistics.median(values) for name, values in times.items()}
        ratio = medians["over SSH"] / medians["here"]
        print(f"median of {rounds}: " + ", ".join(f"{name} {value:.2f} s" for name, value in medians.items()))
        print(f"{ratio:.3f} × (bar: 1.2), {medians['over SSH'] - medians['here']:+.2f} s")


def here(bundle: Path) -> list[str]:
    return [sys.executable, "-m", "edgetl", "check", str(bundle), "--json"]


def there(machine: Machine, bundle: Path) -> list[str]:
    target = machine.target()
    return [sys.executable, "-c", REMOTE, target.address, target.edgetl, str(target.config), str(bundle)]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5)
