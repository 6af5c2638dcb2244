"""Top-1 on hymenoptera's val over five seeds; the seed draws the folds that choose the regularisation.

python -m benchmarks.accuracy
"""

import statistics
import tempfile
from pathlib import Path

from benchmarks.common import BACKBONE, edgetl, hymenoptera, imagenet_weights


def main() -> None:
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(5):
            result, _, _ = edgetl(
                "finetune", hymenoptera(), "--backbone", BACKBONE, "--weights", imagenet_weights(), "--seed", seed,
                "-o", f"{folder}/run{seed}", cache=Path(folder),
            )  # fmt: skip
            scores.append(100 * result["metrics"]["top1"])
            print(f"seed {seed}: top-1 {scores[-1]:.2f} % on {result['samples']} images", flush=True)
    print(f"mean {statistics.mean(scores):.2f} %, lowest {min(scores):.2f} %")


if __name__ == "__main__":
    main()
