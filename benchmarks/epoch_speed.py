"""Images a second of one epoch of unfrozen training, beside the plain loop at batch 32 and at its best batch.

Every contender trains MobileNetV2 with the same augmentation (random resized crop, flip) on the same photos in its own
process, in turns. The plain loop is FP32, channels first, torchvision transforms in the loop, no workers.

    python -m benchmarks.epoch_speed [REPEATS]
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import edgetl, hymenoptera, imagenet_weights

BATCHES = (4, 8, 16)


def plain(batch: int) -> float:
    command = [sys.executable, "-m", "benchmarks.notebook_loop", "2", "unfrozen", str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return max(float(value) for value in re.findall(r"train ([\d.]+) images/s", done.stdout))


def ours(precision: str, folder: Path) -> float:
    """The second epoch: the first also decodes. The time counts reading, augmenting and learning."""
    edgetl(
        "finetune", hymenoptera(), "--weights", imagenet_weights(), "--strategy", "fine-tune", "--epochs", 2,
        "--precision", precision, "-o", folder / "run", "--overwrite", cache=folder,
    )  # fmt: skip
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return float(json.loads(lines[1])["images_per_second"])


def main(repeats: int) -> None:
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for _ in range(repeats):
            round_ = {"plain 32": plain(32), **{f"plain {batch}": plain(batch) for batch in BATCHES}}
            round_ |= {precision: ours(precision, Path(temporary)) for precision in ("fp32", "bf16")}
            for name, value in round_.items():
                found.setdefault(name, []).append(value)
            print({name: round(value, 1) for name, value in round_.items()}, flush=True)
    middle = {name: statistics.median(values) for name, values in found.items()}
    best = max((name for name in middle if name.startswith("plain")), key=lambda name: middle[name])
    for precision in ("fp32", "bf16"):
        ratios = [a / b for a, b in zip(found[precision], found["plain 32"], strict=True)]
        against = [a / b for a, b in zip(found[precision], found[best], strict=True)]
        print(
            f"{precision}: {middle[precision]:.1f} images/s, {statistics.median(ratios):.2f} × the plain loop at 32 "
            f"({min(ratios):.2f} to {max(ratios):.2f}), {statistics.median(against):.2f} × {best}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
