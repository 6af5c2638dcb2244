"""Ten clean exports of hymenoptera, with other seeds for the head, the calibration and the golden draw: how many fail?

python -m benchmarks.clean_exports [EXPORTS]
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.common import BACKBONE, edgetl, hymenoptera, imagenet_weights


def main(exports: int) -> None:
    verdicts: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for seed in range(exports):
            run, bundle = folder / f"run{seed}", folder / f"bundle{seed}"
            edgetl(
                "finetune", hymenoptera(), "--backbone", BACKBONE, "--weights", imagenet_weights(), "--seed", seed,
                "-o", run, cache=folder,
            )  # fmt: skip
            edgetl("export", run, "-o", bundle, "--seed", seed + 100, cache=folder)
            report, _, code = edgetl("check", bundle, "--device", "x86-64-cpu", cache=folder, expect=None)
            codes[code] += 1
            for variant in report["variants"]:
                verdicts[variant["verdict"]] += 1
            lowest = min(v["sqnr_db"] for v in report["variants"])
            print(f"seed {seed}: {report['verdict']}, exit {code}, lowest SQNR {lowest:.1f} dB", flush=True)
    print(f"exit codes {dict(codes)}; variants {dict(verdicts)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
