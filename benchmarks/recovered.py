"""A network that plain int8 ruins, recovered by escalation: its drop, and its latency against the plain int8 one.

The ImageNet MobileNetV2, with the channels of two bottlenecks scaled by heavy-tailed factors that the next layers take
back: the same function in floating point, hopeless with one scale for an activation. Latencies are of fresh launches,
taken in turns.

    python -m benchmarks.recovered
"""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from benchmarks.common import BACKBONE, edgetl, imagenet_weights
from benchmarks.imagenet_head import INT8, build_data
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from edgetl.devices.launches import LaunchPlan, Subject, measure_launches
from edgetl.files import sha256_of
from edgetl.runtime.timing import ratio

BOTTLENECKS = (1, 17)
"""Blocks without a shortcut, whose outputs only the next block's first layer reads."""


def ruin(run: Path) -> None:
    """Scales each channel of the bottlenecks by exp(t), t from Student's t with three degrees of freedom."""
    path = run / "weights.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    state, rng = load_file(path), np.random.default_rng(0)
    for block in BOTTLENECKS:
        norm = f"features.{block}.conv.{2 if block == 1 else 3}"
        reader = "features.18.0.weight" if block == 17 else f"features.{block + 1}.conv.0.0.weight"
        width = len(state[f"{norm}.weight"])
        factors = torch.tensor(np.exp(rng.standard_t(3, width)), dtype=torch.float32).clamp(1e-3, 1e3)
        for name in ("weight", "bias"):
            state[f"{norm}.{name}"] *= factors
        state[reader] /= factors.view(1, -1, 1, 1)
    save_file(state, path, metadata=metadata)
    record = json.loads((run / "run.json").read_text())
    record["files"]["weights.safetensors"] = sha256_of(path)
    (run / "run.json").write_text(json.dumps(record))


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = build_data(folder / "data")
        edgetl(
            "finetune", data, "--strategy", "none", "--labels", data / "labels.txt", "--backbone", BACKBONE,
            "--weights", imagenet_weights(), "-o", folder / "run", cache=folder,
        )  # fmt: skip
        shutil.copytree(folder / "run", folder / "ruined")
        ruin(folder / "ruined")
        made = {
            "sound": edgetl("export", folder / "run", "-o", folder / "sound", cache=folder),
            "ruined": edgetl("export", folder / "ruined", "-o", folder / "healed", cache=folder),
        }
        for name, (result, seconds, _) in made.items():
            print(f"{name}: exported in {seconds:.0f} s")
            for variant in result["variants"]:
                print(f"  {variant['id']:17} {variant['verdict']:9} held {variant['held']}: {variant['reason'][:150]}")
        for variant in INT8:
            subjects = [Subject(bundle=str(folder / name), variant=variant) for name in ("sound", "healed")]
            times = measure_launches(subjects, LaunchPlan())
            slower = ratio(times[0], times[1])
            print(f"{variant}: recovered / plain int8 p50 {slower.value:.2f} ({slower.low:.2f} … {slower.high:.2f})")


if __name__ == "__main__":
    main()
