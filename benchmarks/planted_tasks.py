"""The faults that tokenisers, masks, boxes and labels are known for, planted in every variant of two bundles.

python -m benchmarks.planted_tasks TEXT_BUNDLE DETECTION_BUNDLE [all]

With `all`, every fault that `edgetl selftest` knows.
"""

import sys
from pathlib import Path

from edgetl.bundle import open_bundle
from edgetl.devices.catalogue import host_profile
from edgetl.export.selftest import selftest

NAMED = (
    "another vocabulary", "lower-casing lost", "mask ignored",
    "boxes in xywh for xyxy", "classes shifted by one", "letterbox offset",
)  # fmt: skip


def main(bundles: list[Path], *, every: bool) -> None:
    for path in bundles:
        result = selftest(open_bundle(path), host_profile(), faults=None if every else NAMED)
        print(f"{path.name}: without a fault {result.clean}", flush=True)
        for trial in result.trials:
            print(f"  {trial.variant:18} {trial.outcome:15} {trial.fault:32} {trial.by}: {trial.cause[:80]}")
        counted = [trial for trial in result.trials if trial.outcome != "not applicable"]
        caught = sum(trial.outcome == "caught" for trial in counted)
        print(f"  {caught} of {len(counted)} caught: {result.verdict}", flush=True)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:3]], every="all" in sys.argv[3:])
