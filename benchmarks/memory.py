"""What a large data set costs in memory: the peak of anonymous pages of a process that reads N images.

python -m benchmarks.memory [finetune] [N …]        (default: 10000 1000000; `finetune` is a whole run)
"""

import multiprocessing
import multiprocessing.connection
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 10
PICTURES = 300
INTERVAL_S = 0.05

Work = Callable[[Path, Path], object]
"""Takes the data folder and a scratch folder; what it imports is counted too, for every N alike."""


def make_data(folder: Path, images: int) -> None:
    """`images` links in ten class folders to a few hundred small pictures, the last fifth of each class in val."""
    rng = np.random.default_rng(0)
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    for i in range(PICTURES):
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(pictures / f"{i:03}.png")
    each = images // CLASSES
    for kind in range(CLASSES):
        for split, numbers in (("train", range(each * 4 // 5)), ("val", range(each * 4 // 5, each))):
            place = folder / "data" / split / f"class-{kind}"
            place.mkdir(parents=True)
            for i in numbers:
                os.symlink(pictures / f"{(CLASSES * i + kind) % PICTURES:03}.png", f"{place}/{i:07}.png")  # noqa: PTH211


def read(data: Path, scratch: Path) -> None:
    """Everything `finetune` does with the list of images: scan, hash, leaks, a part held out, the run's record."""
    from edgetl.finetune.data.dataset import read_dataset
    from edgetl.finetune.data.leakage import find_leaks
    from edgetl.finetune.data.splits import hold_out
    from edgetl.run import write_samples

    dataset = read_dataset(data, seed=0)
    find_leaks(dataset, limit=0)
    hold_out(dataset.split("train"), 0.1, seed=0)
    write_samples(scratch / "samples.json", dataset.samples)
    dataset.record()


def finetune_all(data: Path, scratch: Path) -> None:
    """A whole run: features of every image (equal files share theirs), the streamed head, the scores, the run."""
    from edgetl.finetune.config import FinetuneConfig
    from edgetl.finetune.stage import finetune

    asked = FinetuneConfig(data=str(data), backbone="residual_cnn", weights="none", strategy="feature-extraction")
    finetune(asked, scratch / "run")


def anonymous_mb() -> float:
    """RssAnon of this process: pages that no file stands behind."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def peak_mb(work: Work, data: Path) -> tuple[float, float]:
    """(peak of anonymous memory in MB, seconds) of `work` in a fresh process that has torch loaded."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_watched, args=(work, data, theirs))
    process.start()
    theirs.close()
    peak, seconds = ours.recv()
    process.join()
    return peak, seconds


def _watched(work: Work, data: Path, answer: multiprocessing.connection.Connection) -> None:
    import torch  # noqa: F401

    peak, done = [anonymous_mb()], threading.Event()

    def watch() -> None:
        while not done.wait(INTERVAL_S):
            peak.append(max(peak.pop(), anonymous_mb()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["EDGETL_CACHE"] = scratch
        work(data, Path(scratch))
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    answer.send((peak[0], seconds))


def main(sizes: list[int], work: Work = read) -> None:
    peaks = []
    for images in sizes:
        with tempfile.TemporaryDirectory() as folder:
            make_data(Path(folder), images)
            peak, seconds = peak_mb(work, Path(folder) / "data")
        peaks.append(peak)
        print(f"{images:9,} images: peak {peak:.0f} MB of anonymous memory, {seconds:.1f} s", flush=True)
    print(f"ratio of the largest to the smallest set: {peaks[-1] / peaks[0]:.3f}")


if __name__ == "__main__":
    whole = "finetune" in sys.argv
    main([int(size) for size in sys.argv[1:] if size.isdigit()] or [10_000, 1_000_000], finetune_all if whole else read)
