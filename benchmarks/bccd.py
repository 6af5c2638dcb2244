"""A detector of blood cells from ImageNet weights on this computer: mAP50 on bccd's test photos, and the seconds.

SSDLite on mobilenet_v2, everything else as `edgetl finetune` chooses it, through the command line and from an empty
cache. The bar: a test mAP50 of at least 0.75 within 30 minutes on 2 cores.

    python -m benchmarks.bccd [OPTION …]        options are passed on, such as --epochs 40 or --detector fcos
"""

import sys
import tempfile
from pathlib import Path

from benchmarks.common import BACKBONE, edgetl, imagenet_weights, real_data


def main(options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        given = ("--task", "detection", "--backbone", BACKBONE, "--weights", imagenet_weights(), *options)
        data = real_data() / "data" / "bccd"
        result, seconds, _ = edgetl("finetune", data, *given, "-o", folder / "run", cache=folder / "cache")
    metrics = result["metrics"]
    print(f"test mAP50 {metrics['map50']:.3f}, mAP {metrics['map']:.3f} on {result['samples']} photos")
    print(f"held-out mAP50 {result['selection']:.3f}, {result['epochs']} epochs")
    print(f"{seconds:.0f} s the whole command")


if __name__ == "__main__":
    main(sys.argv[1:])
