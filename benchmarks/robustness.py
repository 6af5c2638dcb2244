"""`auto` on spoilt training data: 10 % wrong labels, classes of 1:50, 30 % of the photos grey; val stays clean.

python -m benchmarks.robustness
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from benchmarks.common import edgetl, hymenoptera, imagenet_weights
from PIL import Image

from edgetl.tasks.images import SUFFIXES, decode


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        clean = score(hymenoptera(), folder, "clean")
        for name, spoil in (("noise", wrong_labels), ("imbalance", imbalanced), ("grey", grey)):
            shutil.copytree(hymenoptera(), folder / name)
            spoil(folder / name / "train", np.random.default_rng(0))
            value = score(folder / name, folder, name)
            print(f"{name}: macro-F1 {100 * value:.1f} %, {100 * (value - clean):+.1f} points", flush=True)


def score(data: Path, folder: Path, name: str) -> float:
    result, _, _ = edgetl(
        "finetune", data, "--weights", imagenet_weights(), "-o", folder / f"run-{name}", cache=folder / "cache"
    )
    print(f"{name}: {result['strategy']}, {result['metrics']}", flush=True)
    return float(result["metrics"]["macro_f1"])


def photos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def wrong_labels(train: Path, rng: np.random.Generator) -> None:
    found = photos(train)
    for i in rng.choice(len(found), len(found) // 10, replace=False):
        other = train / ("bees" if found[i].parent.name == "ants" else "ants")
        found[i].rename(other / f"moved-{found[i].name}")


def imbalanced(train: Path, rng: np.random.Generator) -> None:
    """All bees, and a fiftieth as many ants, which are two or three."""
    ants = photos(train / "ants")
    kept = max(2, round(len(photos(train / "bees")) / 50))
    for i in rng.permutation(len(ants))[kept:]:
        ants[i].unlink()


def grey(train: Path, rng: np.random.Generator) -> None:
    found = photos(train)
    for i in rng.choice(len(found), round(0.3 * len(found)), replace=False):
        image: Image.Image = decode(found[i]).convert("L").convert("RGB")
        found[i].unlink()
        image.save(found[i].with_suffix(".png"))


if __name__ == "__main__":
    main()
