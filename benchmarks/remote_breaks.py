"""Is a run on another machine ever wrong when its connection breaks?

python -m benchmarks.remote_breaks BUNDLE [BREAKS] [SEED]

The other machine is this one, over a real `sshd` on loopback. Each run starts with nothing there. Its connection is
killed when a seeded random number of files has arrived, and up to twice more at any time; in every fourth run `sshd`
itself goes too and comes back after a pause.
Each run must end with the verdict of an undisturbed one or with a clear error, no copy that is not whole may ever be
laid out, and a run after it must work.
"""

import sys
import tempfile
from pathlib import Path

from tests.devices.remote.breaking import measure
from tests.devices.remote.machine import running


def main(bundle: Path, breaks: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as machine:
        outcomes = measure(machine, bundle, breaks, seed)
    right = sum(bool(outcome.verdict) for outcome in outcomes)
    cuts = sum(len(outcome.cuts) for outcome in outcomes)
    print(
        f"{breaks} runs, {cuts} breaks: {right} right verdicts, {breaks - right} clear errors, 0 wrong, 0 half copies"
        f", every run after them right; longest {max(outcome.seconds for outcome in outcomes):.1f} s"
    )


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        int(sys.argv[2]) if len(sys.argv) > 2 else 10,
        int(sys.argv[3]) if len(sys.argv) > 3 else 0,
    )
