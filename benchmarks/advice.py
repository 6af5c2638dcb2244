"""What advice costs and says, and what the fast head saves: hymenoptera and CIFAR-10, two MobileNetV2 weights.

python -m benchmarks.advice
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
from benchmarks.common import BACKBONE, hymenoptera, imagenet_weights, real_data
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from edgetl.finetune.advice.advise import AdviseConfig, advise
from edgetl.finetune.head.logistic import FOLDS, GRID, fit_head
from edgetl.types import Array, silent


def plain_head(features: Array, truths: Array) -> float:
    """The least log-loss of scikit-learn's own fits, one for each C and fold, with nothing shared."""
    scaled = ((features - features.mean(0)) / np.maximum(features.std(0), 1e-6)).astype(np.float64)
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(scaled, truths))
    losses = []
    for c in GRID:
        right = []
        for train, held_out in folds:
            model = LogisticRegression(C=c, max_iter=2000).fit(scaled[train], truths[train])
            right.append(model.predict_proba(scaled[held_out])[np.arange(len(held_out)), truths[held_out]])
        losses.append(float(-np.log(np.maximum(np.concatenate(right), 1e-12)).mean()))
    LogisticRegression(C=GRID[int(np.argmin(losses))], max_iter=2000).fit(scaled, truths)
    return min(losses)


def heads() -> None:
    """Wide features of few samples, as a frozen backbone gives them: 245 × 1280, two classes."""
    rng = np.random.default_rng(0)
    truths = np.arange(245) % 2
    features = (rng.normal(size=(245, 1280)) + 0.15 * truths[:, None]).astype(np.float32)
    began = time.perf_counter()
    expected = plain_head(features, truths)
    plain = time.perf_counter() - began
    began = time.perf_counter()
    head = fit_head(features, truths, 2, seed=0, track=silent)
    fast = time.perf_counter() - began
    found = min(candidate.log_loss for candidate in head.candidates)
    print(f"head on 245 × 1280: plain {plain:.2f} s, log-loss {expected:.4f}; fit_head {fast:.2f} s, {found:.4f}")


def advice(data: Path) -> None:
    weights = tuple(str(imagenet_weights().with_name(f"{BACKBONE}-{name}.safetensors")) for name in NAMES)
    result = advise(AdviseConfig(data=str(data), backbones=(BACKBONE,) * len(NAMES), weights=weights))
    print(f"\n{data.name}: {result.seconds:.1f} s, {result.case} → {result.strategy}\n{result.reason}")
    for each in result.candidates:
        print(
            f"  {Path(each.weights).stem}: probe {each.probe_top1:.1%} ± {each.probe_top1_error:.1%}, "
            f"neighbours {each.neighbour_top1:.1%}, LogME {each.logme:.3f}, LEEP {each.leep:.3f}"
        )


NAMES = ("imagenet", "inat_insect")


def main() -> None:
    heads()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EDGETL_CACHE"] = folder
        for data in (hymenoptera(), real_data() / "data" / "cifar10-small"):
            advice(data)


if __name__ == "__main__":
    main()
