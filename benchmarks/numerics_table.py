"""How far are clean exports of many architectures from torch, and how near does a fault come? For the tolerances.

python -m benchmarks.numerics_table FOLDER [--seeds 2] [--epochs 6] [--only mobilenet_v2,resnet18]

Every architecture is trained once, from scratch on scikit-learn's digits at 32 pixels (published weights cannot be
downloaded everywhere), mobilenet_v2 also with ImageNet weights on hymenoptera, and exported once for each seed, which
draws the calibration and the golden samples. FOLDER keeps runs and bundles, and a second call reuses them.
The nearest fault is the highest SQNR that torch itself has under any fault hypothesis: what a faulty FP32 variant
would show.
"""

import argparse
from collections import Counter
from pathlib import Path

from benchmarks.common import edgetl, hymenoptera, imagenet_weights

from edgetl.bundle import open_bundle
from edgetl.devices.hypotheses import PREFIX
from edgetl.devices.numerics import sqnr_db
from edgetl.export.demo import write_digits

NOTHING = 100.0
"""Decibels above which two sets of answers are the same."""

ARCHITECTURES = (
    "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "resnet18", "resnet50", "efficientnet_b0",
    "regnet_y_400mf", "shufflenet_v2_x1_0", "residual_cnn",
)  # fmt: skip


def cases(data: Path, epochs: int, only: list[str]) -> dict[str, tuple[object, ...]]:
    """Name → arguments of `finetune`."""
    scratch = ("--strategy", "from-scratch", "--weights", "none", "--size", 32, "--epochs", epochs)
    found: dict[str, tuple[object, ...]] = {
        name: (data, "--backbone", name, *scratch) for name in only or reversed(ARCHITECTURES)
    }
    found["mobilenet_v2-imagenet"] = (hymenoptera(), "--backbone", "mobilenet_v2", "--weights", imagenet_weights())
    return found


def nearest_fault(folder: Path) -> tuple[str, float]:
    """The hypothesis under which torch comes nearest to its right answers, and its SQNR in dB.

    Left out are those that change nothing: grey images look the same with red and blue swapped.
    """
    arrays = open_bundle(folder).golden()
    found = {
        name.removeprefix(PREFIX): sqnr_db(value, arrays["logits"][: len(value)])
        for name, value in arrays.items()
        if name.startswith(PREFIX)
    }
    return max(((name, db) for name, db in found.items() if db < NOTHING), key=lambda item: item[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    only = [name for name in arguments.only.split(",") if name]
    verdicts: Counter[str] = Counter()
    print("| model | variant | top-1 % | SQNR dB | worst column dB | max Δlogit | KL | agrees % | verdict |")
    print("|---|---|---|---|---|---|---|---|---|")
    digits = arguments.folder / "digits"
    if not digits.exists():
        write_digits(digits, range(10), train_per_class=None)
    trained = cases(digits, arguments.epochs, only)
    for name, seed in ((name, seed) for name in trained for seed in range(arguments.seeds)):
        run, bundle = arguments.folder / f"run-{name}", arguments.folder / f"bundle-{name}-{seed}"
        if not run.exists():
            edgetl("finetune", *trained[name], "-o", run, cache=arguments.folder / "cache")
        if not bundle.exists():
            edgetl("export", run, "-o", bundle, "--seed", seed, cache=arguments.folder / "cache")
        report, _, _ = edgetl("check", bundle, cache=arguments.folder / "cache", expect=None)
        fault, decibels = nearest_fault(bundle)
        for each in report["variants"]:
            verdicts[each["verdict"]] += 1
            print(
                f"| {name} {seed} | {each['id']} | {100 * each['metric']['value']:.1f} | {each['sqnr_db']:.1f} | "
                f"{each['column_sqnr_db']:.1f} | {each['max_abs_dlogit']:.2g} | {each['kl']:.2g} | "
                f"{100 * each['agreement']:.1f} | {each['verdict']} |",
                flush=True,
            )
            for reason in each["reasons"]:
                if reason["verdict"] == "fail":
                    print(f"|  | {reason['layer']}: {reason['text']} {reason['cause'] or ''} |", flush=True)
        print(f"| {name} {seed} | nearest fault: {fault} | | {decibels:.1f} | | | | | |", flush=True)
    print(f"verdicts: {dict(verdicts)}")


if __name__ == "__main__":
    main()
