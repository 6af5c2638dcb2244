"""Four faults planted in every variant of a bundle: does `check` say no and name the cause?

python -m benchmarks.planted_faults bundles/hymenoptera DATA/hymenoptera
"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from tests.planting import FAULTS, plant

from edgetl.bundle import open_bundle
from edgetl.devices.check import check
from edgetl.devices.profile import load_profile
from edgetl.finetune.data import read_dataset
from edgetl.tasks.loading import prepare_files
from edgetl.types import Pixels


def calibration_pixels(bundle: Path, data: Path, count: int = 128) -> Pixels:
    """Training images, every n-th."""
    samples = read_dataset(data, seed=0).split("train")
    chosen = samples[:: max(1, len(samples) // count)][:count]
    return np.stack(list(prepare_files((data / s.path for s in chosen), open_bundle(bundle).manifest.task.input)))


def main(bundle: Path, data: Path) -> None:
    pixels = calibration_pixels(bundle, data)
    caught = 0
    variants = [variant.id for variant in open_bundle(bundle).manifest.variants]
    for variant in variants:
        for fault, (edit, cause) in FAULTS.items():
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / "bundle"
                shutil.copytree(bundle, copy)
                plant(copy, variant, edit, pixels)
                report = check(open_bundle(copy), load_profile("x86-64-cpu"), variants=[variant], latency=None)
            judged = report.variants[0]
            named = [reason.cause for reason in judged.reasons if reason.cause]
            good = report.verdict == "fail" and bool(named) and str(named[0]).startswith(cause)
            caught += good
            print(
                f"{variant:18} {fault:22} {report.verdict:9} {judged.sqnr_db or 0:6.1f} dB  "
                f"agrees {judged.agreement or 0:6.1%}  cause: {named[0] if named else 'not named'}",
                flush=True,
            )
    print(f"caught with the cause named: {caught} of {len(variants) * len(FAULTS)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
