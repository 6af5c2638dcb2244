"""The planted faults of texts and of boxes: `selftest` on two bundles, every fault in every variant.

python -m benchmarks.planted_tasks TEXT_BUNDLE DETECTION_BUNDLE
"""

import sys
from pathlib import Path

from edgetl.bundle import open_bundle
from edgetl.devices.catalogue import host_profile
from edgetl.export.selftest import selftest

NAMED = {
    "text-classification": ("another vocabulary", "lower-casing lost", "mask ignored"),
    "object-detection": ("boxes in xywh for xyxy", "classes shifted by one", "letterbox offset"),
}


def main(bundles: list[Path]) -> None:
    missed = 0
    for path in bundles:
        result = selftest(open_bundle(path), host_profile())
        print(f"{path}: clean {result.clean}")
        for trial in result.trials:
            print(f"  {trial.variant:18} {trial.outcome:15} {trial.fault:40} {trial.by}: {trial.cause[:90]}")
        counted = [trial for trial in result.trials if trial.outcome != "not applicable"]
        caught = sum(trial.outcome == "caught" for trial in counted)
        missed += len(counted) - caught
        wanted = NAMED[open_bundle(path).manifest.task.__struct_config__.tag]  # type: ignore[index]
        whole = all(trial.outcome == "caught" for trial in counted if trial.fault in wanted)
        print(
            f"  {caught} of {len(counted)} caught; of the named faults {'all' if whole else 'NOT all'}; "
            f"{result.verdict}"
        )
    print("nothing missed" if not missed else f"{missed} missed")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
