"""The second epoch of `partial` against the first, which fills the cache of boundary activations; an empty cache.

python -m benchmarks.partial_cache [REPEATS]
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.common import edgetl, hymenoptera, imagenet_weights


def main(repeats: int) -> None:
    ratios = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            edgetl(
                "finetune", hymenoptera(), "--weights", imagenet_weights(), "--strategy", "partial", "--epochs", 3,
                "-o", folder / "run", cache=folder,
            )  # fmt: skip
            lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
        ratios.append(lines[0]["seconds"] / lines[1]["seconds"])
        print(f"first {lines[0]['seconds']:.2f} s, second {lines[1]['seconds']:.2f} s", flush=True)
    print(f"second epoch {statistics.median(ratios):.1f} × faster ({min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
