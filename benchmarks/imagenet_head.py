"""The 1000-class head: drop and agreement of each INT8 variant over five calibration draws, and per-tensor weights.

The sample has one image a class; 256 of them are `train` (128 are drawn for calibration), 744 are `val`. The drop
is over all of val, the agreement over its golden 256.

    python -m benchmarks.imagenet_head [DRAWS]
"""

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from benchmarks.common import BACKBONE, edgetl, imagenet_weights, real_data

INT8 = ("onnxruntime-int8", "openvino-int8")


def build_data(folder: Path) -> Path:
    """A train/val tree of links, one class folder for each image, and labels.txt in class order."""
    images = sorted((real_data() / "data" / "imagenet-sample").glob("*.jpg"))
    train = set(np.random.default_rng(0).permutation(len(images))[:256].tolist())
    labels = [image.stem.split("_", 1)[1] for image in images]
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / ("train" if i in train else "val") / label
        place.mkdir(parents=True)
        (place / image.name).symlink_to(image)
    (folder / "labels.txt").write_text("\n".join(labels))
    return folder


def main(draws: int) -> None:
    drops: dict[str, list[float]] = {name: [] for name in INT8}
    agreements: dict[str, list[float]] = {name: [] for name in INT8}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = build_data(folder / "data")
        result, _, _ = edgetl(
            "finetune", data, "--strategy", "none", "--labels", data / "labels.txt", "--backbone", BACKBONE,
            "--weights", imagenet_weights(), "-o", folder / "run", cache=folder,
        )  # fmt: skip
        print(f"torch fp32: top-1 {result['metrics']['top1']:.2%} on {result['samples']} images", flush=True)
        for seed in range(draws):
            bundle = folder / f"bundle{seed}"
            edgetl("export", folder / "run", "-o", bundle, "--seed", seed, cache=folder)
            report, _, _ = edgetl("check", bundle, "--variants", ",".join(INT8), cache=folder, expect=None)
            for variant in report["variants"]:
                drops[variant["id"]].append(variant["drop_points"]["value"])
                agreements[variant["id"]].append(100 * variant["agreement"])
                print(
                    f"draw {seed} {variant['id']:17} {variant['verdict']:9} "
                    f"drop {drops[variant['id']][-1]:+.2f} points, "
                    f"agrees {agreements[variant['id']][-1]:.1f} %, SQNR {variant['sqnr_db']:.1f} dB",
                    flush=True,
                )
        for name in INT8:
            print(
                f"{name}: mean drop {statistics.mean(drops[name]):+.2f} points, "
                f"mean agreement {statistics.mean(agreements[name]):.1f} %"
            )
        bundle = folder / "per-tensor"
        _, _, code = edgetl(
            "export", folder / "run", "-o", bundle, "--per-tensor", "--no-escalate", cache=folder, expect=None
        )
        report, _, checked = edgetl("check", bundle, cache=folder, expect=None)
        scores = ", ".join(f"{v['id']} {v['metric']['value']:.1%} {v['verdict']}" for v in report["variants"])
        print(f"per-tensor: export exits {code}, check exits {checked}: {scores}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
