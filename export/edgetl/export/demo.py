"""The demo: digits 0–4 teach a small network, digits 5–9 adapt it with ten images a class, and it ships.

Data: scikit-learn's copy of the UCI "Optical Recognition of Handwritten Digits" test set, 1,797 images of
8 × 8 pixels (Alpaydin & Kaynak, 1998).
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from edgetl.bundle import Bundle, open_bundle
from edgetl.devices.catalogue import host_profile
from edgetl.devices.check import check
from edgetl.devices.measure import BenchReport, bench
from edgetl.devices.measurements import remember
from edgetl.devices.verdict import Report
from edgetl.export.config import ExportConfig
from edgetl.export.report import write_report
from edgetl.export.stage import export
from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.stage import finetune
from edgetl.finetune.training.config import Value
from edgetl.runtime.bench import BenchOptions
from edgetl.staging import check_target
from edgetl.types import Track

TRAIN_PER_CLASS = 10
EPOCHS = 20
PRETRAINING: dict[str, Value] = {"epochs": 20, "augment": "shift"}
SCRATCH: dict[str, Value] = {"epochs": EPOCHS, "augment": "shift", "batch_size": 8}
ADAPTATION: dict[str, Value] = {**SCRATCH, "learning_rate": 3e-3, "batch_norm": "train"}
"""Adaptation and the network from scratch get the same number of epochs; both rates were the better ones tried."""


class DemoResult(msgspec.Struct, frozen=True, kw_only=True):
    """`transfer_top1` and `scratch_top1` are on the same `samples` validation images of digits 5–9,
    after the same number of `epochs` over ten images a class.
    """

    transfer_top1: float
    scratch_top1: float
    epochs: int
    samples: int
    bundle: str
    report: str
    check: Report
    bench: BenchReport


def run_demo(out: Path, *, overwrite: bool, track: Track, say: Callable[[str], None]) -> DemoResult:
    """Writes data, runs and the bundle below `out`."""
    out.mkdir(parents=True, exist_ok=True)
    check_target(out / "bundle", overwrite=overwrite)
    say("writing the digits as image folders")
    write_digits(out / "digits-0-4", range(5), train_per_class=None)
    write_digits(out / "digits-5-9", range(5, 10), train_per_class=TRAIN_PER_CLASS)

    def learn(name: str, data: str, strategy: str, weights: str, loop: dict[str, Value]) -> float:
        config = FinetuneConfig(
            data=str(out / data), backbone="residual_cnn", weights=weights, strategy=strategy, loop=loop
        )
        result = finetune(config, out / "runs" / name, overwrite=True, track=track)
        say(f"{name}: top-1 {result.metrics['top1']:.1%} on {result.samples} images, {result.seconds:.1f} s")
        return result.metrics["top1"]

    learn("pretrained", "digits-0-4", "from-scratch", "none", PRETRAINING)
    transfer = learn("adapted", "digits-5-9", "full", str(out / "runs" / "pretrained"), ADAPTATION)
    scratch = learn("scratch", "digits-5-9", "from-scratch", "none", SCRATCH)
    export(out / "runs" / "adapted", out / "bundle", ExportConfig(), overwrite=overwrite, track=track)
    bundle = open_bundle(out / "bundle")
    report, speed = _judge(bundle, track)
    write_report(out / "bundle" / "report.html", bundle, report, speed.variants)
    return DemoResult(
        transfer_top1=transfer,
        scratch_top1=scratch,
        epochs=EPOCHS,
        samples=len(list((out / "digits-5-9" / "val").rglob("*.png"))),
        bundle=str(out / "bundle"),
        report=str(out / "bundle" / "report.html"),
        check=report,
        bench=speed,
    )


def _judge(bundle: Bundle, track: Track) -> tuple[Report, BenchReport]:
    report = check(bundle, host_profile(), track=track)
    speed = bench(bundle, host_profile(), BenchOptions(min_seconds=1.0), track=track)
    remember(bundle, "check", report)
    remember(bundle, "bench", speed)
    return report, speed


def write_digits(folder: Path, digits: range, *, train_per_class: int | None) -> None:
    """ROOT/train/DIGIT/*.png and ROOT/val/DIGIT/*.png, 8 × 8 grey; None trains on four fifths."""
    shutil.rmtree(folder, ignore_errors=True)
    images, truths = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    for digit in digits:
        chosen = rng.permutation(np.flatnonzero(truths == digit))
        train = train_per_class or len(chosen) * 4 // 5
        for position, index in enumerate(chosen):
            place = folder / ("train" if position < train else "val") / str(digit)
            place.mkdir(parents=True, exist_ok=True)
            grey = (images[index].reshape(8, 8) * (255 / 16)).astype(np.uint8)
            Image.fromarray(grey).save(place / f"{index:04}.png")
