"""Wall time of `finetune` on hymenoptera against the notebook loop, frozen and unfrozen: whole process and fit alone.

`fit alone` starts after the imports: the stage's own seconds, from an empty cache to the written run, against the
loop's epochs. The loop's first three epochs are timed and scaled to 25; the contenders take turns, so that a slow
minute hits all. Beside them: a scikit-learn probe on eager features, and a tuned loop (batch 32, bf16, 10 epochs).

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


def notebook(kind: str) -> tuple[float, float]:
    """Seconds of the whole process and of its epochs alone, both scaled to `EPOCHS`."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.notebook_loop", str(TIMED), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    whole = time.perf_counter() - began
    epochs = [float(value) for value in re.findall(r"epoch ([\d.]+) s", done.stdout)]
    middle = statistics.median(epochs)
    return whole + (EPOCHS - TIMED) * middle, EPOCHS * middle


def other(name: str) -> tuple[float, float, float]:
    """Whole seconds, seconds after imports, top-1 of one of `benchmarks.contenders`."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.contenders", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    fit, top1 = (float(value) for value in done.stdout.split()[-2:])
    return time.perf_counter() - began, fit, top1


def finetune(folder: Path, name: str, cache: Path) -> tuple[float, float, float]:
    options = ("--backbone", BACKBONE, "--weights", imagenet_weights(), "-o", folder / name)
    result, seconds, _ = edgetl("finetune", hymenoptera(), *options, cache=cache)
    return seconds, result["seconds"], result["metrics"]["top1"]


def main(repeats: int) -> None:
    whole: dict[str, list[float]] = {"frozen": [], "unfrozen": []}
    fit: dict[str, list[float]] = {"frozen": [], "unfrozen": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for i in range(repeats):
            ours = finetune(folder, f"run{i}", folder / f"cache{i}")
            line = f"auto {ours[0]:.1f} s, fit {ours[1]:.2f} s, top-1 {ours[2]:.3f}"
            for kind in whole:
                seconds = notebook(kind)
                whole[kind].append(seconds[0] / ours[0])
                fit[kind].append(seconds[1] / ours[1])
                line += f"; {kind} loop {seconds[0]:.0f} s, epochs {seconds[1]:.0f} s"
            for name in ("probe", "tuned"):
                seconds_whole, seconds_fit, top1 = other(name)
                line += f"; {name} {seconds_whole:.1f} s, fit {seconds_fit:.1f} s, top-1 {top1:.3f}"
            print(line, flush=True)
    for what, ratios in (("whole process", whole), ("fit alone", fit)):
        for kind, values in ratios.items():
            print(
                f"{what}, {kind} loop: {statistics.median(values):.1f} × faster ({min(values):.1f}–{max(values):.1f})"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
