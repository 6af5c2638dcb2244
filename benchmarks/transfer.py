"""`auto` beside plain logistic regression on hymenoptera: five seeds of stratified five-fold over all 398 images.

Both see the same folds. Each fold is a manifest for `finetune --strategy auto` (its `seconds` count from the start of
the stage to the written run, features from an empty cache for each seed's first fold), and a LogisticRegressionCV of
scikit-learn on features of torch FP32. The corrected resampled t-test is Nadeau & Bengio's (Machine Learning, 2003).

    python -m benchmarks.transfer
"""

import csv
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from benchmarks.common import hymenoptera, imagenet_weights
from scipy.stats import t
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edgetl.finetune.backbones.registry import get_backbone, recipe
from edgetl.finetune.backbones.weights import build_model, read_weights
from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.graph import torch_predictor
from edgetl.finetune.head.probe import without_head
from edgetl.finetune.stage import finetune
from edgetl.tasks import ImageClassification
from edgetl.tasks.images import SUFFIXES, prepare

SEEDS, FOLDS = 5, 5


def images() -> list[tuple[Path, str]]:
    paths = sorted(path for path in hymenoptera().rglob("*") if path.suffix.lower() in SUFFIXES)
    return [(path, path.parent.name) for path in paths]


def plain_features(found: list[tuple[Path, str]]) -> tuple[np.ndarray, float]:
    began = time.perf_counter()
    backbone = get_backbone("mobilenet_v2")
    model, _ = build_model(backbone, read_weights(backbone, str(imagenet_weights())).state, 2, seed=0)
    chosen = recipe(backbone)
    task = ImageClassification(labels=("ants", "bees"), input=chosen.input, mean=chosen.mean, std=chosen.std)
    predict = torch_predictor(without_head(model.eval()), task)
    features = [predict(prepare(path, task.input)[None])[0] for path, _ in found]
    return np.stack(features), time.perf_counter() - began


def main() -> None:
    warnings.simplefilter("ignore", FutureWarning)  # scikit-learn announces another shape of its attributes
    found = images()
    truths = np.array([label for _, label in found])
    features, feature_seconds = plain_features(found)
    ours, theirs, our_seconds, their_seconds = [], [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for seed in range(SEEDS):
            for fold, (train, test) in enumerate(
                StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(features, truths)
            ):
                began = time.perf_counter()
                model = make_pipeline(
                    StandardScaler(), LogisticRegressionCV(Cs=11, cv=5, max_iter=2000, scoring="neg_log_loss")
                )
                model.fit(features[train], truths[train])
                theirs.append(float((model.predict(features[test]) == truths[test]).mean()))
                their_seconds.append(time.perf_counter() - began + feature_seconds)
                ours_top1, seconds = ours_on(folder, found, set(test.tolist()), f"{seed}-{fold}", seed)
                ours.append(ours_top1)
                our_seconds.append(seconds)
            print(
                f"seed {seed}: auto {100 * statistics.mean(ours[-FOLDS:]):.2f} %, logistic regression "
                f"{100 * statistics.mean(theirs[-FOLDS:]):.2f} %",
                flush=True,
            )
    report(np.array(ours), np.array(theirs), our_seconds, their_seconds)


def ours_on(folder: Path, found: list[tuple[Path, str]], test: set[int], name: str, seed: int) -> tuple[float, float]:
    """`auto` on one fold from an empty cache, with the images left out of it as `val`: its top-1 and its seconds."""
    manifest = folder / f"{name}.csv"
    with manifest.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split"])
        for i, (path, label) in enumerate(found):
            writer.writerow([path, label, "val" if i in test else "train"])
    os.environ["EDGETL_CACHE"] = str(folder / f"cache-{name}")
    began = time.perf_counter()
    result = finetune(
        FinetuneConfig(data=str(manifest), weights=str(imagenet_weights()), seed=seed), folder / f"run-{name}"
    )
    return result.metrics["top1"], time.perf_counter() - began


def report(ours: np.ndarray, theirs: np.ndarray, our_seconds: list[float], their_seconds: list[float]) -> None:
    difference = 100 * (ours - theirs)
    spread = difference.var(ddof=1) * (1 / len(difference) + 1 / (FOLDS - 1))
    statistic = difference.mean() / np.sqrt(spread) if spread else 0.0
    p_value = 2 * float(t.sf(abs(statistic), len(difference) - 1))
    print(
        f"auto {100 * ours.mean():.2f} %, logistic regression {100 * theirs.mean():.2f} %: {difference.mean():+.2f} "
        f"points (p = {p_value:.2f}, corrected resampled t-test over {len(difference)} folds); "
        f"median seconds a fold {statistics.median(our_seconds):.2f} and {statistics.median(their_seconds):.2f} "
        f"(features included)"
    )


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
