"""`auto` on cifar10-small: 2,000 training images, `val` split from them, `test` looked at once.

python -m benchmarks.cifar_small [SEEDS]
"""

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.common import edgetl, imagenet_weights, real_data


def main(seeds: int) -> None:
    scores, minutes = [], []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(seeds):
            folder = Path(temporary)
            result, seconds, _ = edgetl(
                "finetune", real_data() / "data" / "cifar10-small", "--weights", imagenet_weights(), "--seed", seed,
                "-o", folder / f"run{seed}", cache=folder / f"cache{seed}",
            )  # fmt: skip
            scores.append(100 * result["metrics"]["top1"])
            minutes.append(seconds / 60)
            print(
                f"seed {seed}: {result['strategy']}, {result['epochs']} epochs, {scores[-1]:.1f} % on "
                f"{result['samples']} {result['headline']} images, {minutes[-1]:.1f} min whole process", flush=True,
            )  # fmt: skip
    print(f"mean {statistics.mean(scores):.1f} %, lowest {min(scores):.1f} %, at most {max(minutes):.1f} min")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
