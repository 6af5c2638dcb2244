"""Wall time of `finetune` on hymenoptera, whole process, cold and warm cache, against the notebook loop.

The loop's imports and set-up are timed with its first three epochs and the epochs scaled to 25; the two take
turns so that a slow minute hits both.

    python -m benchmarks.finetune_time [REPEATS]
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import BACKBONE, edgetl, hymenoptera, imagenet_weights

EPOCHS, TIMED = 25, 3


def notebook_seconds() -> float:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.notebook_loop", str(TIMED)], capture_output=True, text=True, check=True
    )
    whole = time.perf_counter() - began
    epochs = [float(value) for value in re.findall(r"epoch ([\d.]+) s", done.stdout)]
    return whole + (EPOCHS - TIMED) * statistics.median(epochs)


def finetune_seconds(folder: Path, name: str, cache: Path) -> float:
    options = ("--backbone", BACKBONE, "--weights", imagenet_weights(), "-o", folder / name)
    return edgetl("finetune", hymenoptera(), *options, cache=cache)[1]


def main(repeats: int) -> None:
    cold, warm, notebook = [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for i in range(repeats):
            cold.append(finetune_seconds(folder, f"cold{i}", folder / f"cache{i}"))
            warm.append(finetune_seconds(folder, f"warm{i}", folder / f"cache{i}"))
            notebook.append(notebook_seconds())
            print(f"cold {cold[-1]:.1f} s, warm {warm[-1]:.1f} s, notebook {notebook[-1]:.0f} s", flush=True)
    ratios = [slow / fast for slow, fast in zip(notebook, cold, strict=True)]
    print(
        f"median: cold {statistics.median(cold):.1f} s, warm {statistics.median(warm):.1f} s, "
        f"notebook {statistics.median(notebook):.0f} s, {statistics.median(ratios):.1f} × faster (cold)"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
